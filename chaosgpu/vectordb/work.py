# SPDX-License-Identifier: Apache-2.0
"""What the probes do once their arguments are checked; kept apart so that importing them stays cheap."""

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from chaosgpu.errors import AnswerWrong, BadArgument, Unreachable
from chaosgpu.fleet.values import JsonObject, seconds
from chaosgpu.vectordb import canary
from chaosgpu.vectordb.backends.address import Address, address
from chaosgpu.vectordb.backends.connect import connected
from chaosgpu.vectordb.backends.contract import Backend, collection_name, own_collection
from chaosgpu.vectordb.baseline import Baseline, known_baseline
from chaosgpu.vectordb.judging import Judged, judge
from chaosgpu.vectordb.known_set import KnownSet

__all__ = [
    "Ask",
    "count",
    "dropped",
    "healthy",
    "judged",
    "learned",
    "ready_after",
    "searched",
    "unfound",
    "wrong_vectors",
]

logger = logging.getLogger("chaostoolkit")

type Mapped = Mapping[str, object] | None

_POLL_S = 0.2
_MOST_ROWS = 100_000
_MOST_DIMENSION = 2000


class Ask:
    """Which database a probe means, and its baseline."""

    def __init__(
        self,
        url: object,
        backend: object,
        timeout_s: object,
        secrets: Mapped = None,
        configuration: Mapped = None,
    ) -> None:
        """Check the address."""
        self.where: Address = address(backend, url, timeout_s, secrets)
        self.configuration = configuration

    def baseline(self, path: object) -> Baseline:
        """Return the baseline; one of another kind of database is refused."""
        found = known_baseline(path, self.configuration)
        if found.kind != self.where.kind:
            raise BadArgument(
                f"The baseline is of a {found.kind} database and {self.where.url} is a {self.where.kind} one; "
                "learn it there."
            )
        return found


def healthy(ask: Ask) -> bool:
    """Ask the plain health check; one that does not answer is not healthy, and the log says why."""
    try:
        with connected(ask.where) as backend:
            return backend.healthy()
    except (Unreachable, AnswerWrong) as error:
        logger.warning("%s", error)
        return False


def count(ask: Ask, collection: object) -> int:
    """Return what the database says that it has."""
    name = collection_name(collection)
    with connected(ask.where) as backend:
        return backend.count(name)


def ready_after(ask: Ask, path: object, within_s: object, now: Callable[[], float] = time.monotonic) -> float:
    """Wait until the canary is right, and return the seconds that it took."""
    baseline, limit_s, began = ask.baseline(path), seconds("within_s", within_s), now()
    while True:
        found = judge(ask.where, baseline)
        took_s = now() - began
        if found.right:
            return round(took_s, 3)
        if took_s >= limit_s:
            raise Unreachable(f"{ask.where.url} was not right within {limit_s:g} s; the last time: {found.why[0]}")
        time.sleep(_POLL_S)


def learned(ask: Ask, path: object, collection: object, *, seed: object, rows: object, dimension: object) -> JsonObject:
    """Make the canary collection and keep what it is like while it is healthy."""
    name = own_collection(collection)
    if not isinstance(path, str) or not path:
        raise BadArgument(f"path must be the file to write, not {path!r}.")
    known = KnownSet(
        seed=_whole("seed", seed, 0, 1 << 31),
        rows=_whole("rows", rows, 100, _MOST_ROWS),
        dimension=_whole("dimension", dimension, 2, _MOST_DIMENSION),
    )
    with connected(ask.where) as backend:
        canary.seed(backend, name, known)
        baseline = _measured(ask, backend, name, known)
    baseline.write(Path(path))
    return {
        "path": path,
        "collection": name,
        "rows": known.rows,
        "recall": round(baseline.recall, 4),
        "alarm_below": round(baseline.alarm_below, 4),
        "not_first_for_themselves": len(baseline.selves_missing),
        "p50_ms": baseline.p50_ms,
    }


def _measured(ask: Ask, backend: Backend, collection: str, known: KnownSet) -> Baseline:
    found = canary.search_known(backend, collection, known)
    stored = canary.check_stored(backend, collection, known)
    if found.short or found.foreign or stored.wrong:
        raise AnswerWrong(
            f"The new collection {collection} at {ask.where.url} is not healthy, so it is no baseline: {found.short} "
            f"answers are short, {found.foreign} neighbours are none of its vectors, {stored.sentence()}."
        )
    selves = canary.search_selves(backend, collection, canary.selves_of(known))
    return Baseline(
        kind=ask.where.kind,
        version=backend.version(),
        collection=collection,
        known=known,
        recall=found.recall,
        trials=found.trials,
        selves_missing=selves.missing,
        p50_ms=round(found.p50_ms, 3),
    )


def _whole(name: str, value: object, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise BadArgument(f"{name} must be a whole number from {least} to {most}, not {value!r}.")
    return value


def judged(ask: Ask, path: object) -> Judged:
    """Ask everything; each reason is logged."""
    found = judge(ask.where, ask.baseline(path))
    for why in found.why:
        logger.warning("The canary collection at %s is not right: %s", ask.where.url, why)
    return found


def searched(ask: Ask, path: object) -> canary.Searched:
    """Ask the questions alone."""
    baseline = ask.baseline(path)
    with connected(ask.where) as backend:
        return canary.search_known(backend, baseline.collection, baseline.known)


def unfound(ask: Ask, path: object) -> int:
    """Count vectors that do not come first for themselves and did when it was learned."""
    baseline = ask.baseline(path)
    with connected(ask.where) as backend:
        found = canary.search_selves(backend, baseline.collection, canary.selves_of(baseline.known))
    return len(set(found.missing) - set(baseline.selves_missing))


def wrong_vectors(ask: Ask, path: object) -> int:
    """Count stored vectors that are missing, twice, not finite or not the ones that were written."""
    baseline = ask.baseline(path)
    with connected(ask.where) as backend:
        found = canary.check_stored(backend, baseline.collection, baseline.known)
    if found.wrong:
        logger.warning("At %s, collection %s: %s", ask.where.url, baseline.collection, found.sentence())
    return found.wrong


def dropped(ask: Ask, collection: object) -> JsonObject:
    """Remove a collection of ours."""
    name = own_collection(collection)
    with connected(ask.where) as backend:
        backend.drop(name)
    return {"collection": name, "dropped": True}
