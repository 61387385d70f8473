# SPDX-License-Identifier: Apache-2.0
"""What the actions do in a guarded run: client processes, bad vectors, the audit of a history."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from chaosgpu.errors import BadArgument, ChaosGpuError, ReadingUnknown
from chaosgpu.fleet.values import JsonObject, JsonValue
from chaosgpu.lease.guarded import guarded_run, refuse_closing
from chaosgpu.vectordb import clients
from chaosgpu.vectordb.audit import Audited, audit
from chaosgpu.vectordb.backends.connect import connected
from chaosgpu.vectordb.backends.contract import Row, Vector
from chaosgpu.vectordb.history import Asked, Ended, read_history
from chaosgpu.vectordb.order import Order, checked_name
from chaosgpu.vectordb.recording import outcome_of
from chaosgpu.vectordb.undoing import BAD_VECTORS, CLIENT, ClientDeed, RowsDeed
from chaosgpu.vectordb.work import Ask

__all__ = ["BAD", "acknowledged", "audited", "bad_vectors", "begun", "clean", "stopped"]

logger = logging.getLogger("chaostoolkit")

# Ids of bad vectors: far above those of the known set.
FIRST_BAD = 900_000_001
_OVERSIZED = 40_000
_WHOLE = 100
BAD: dict[str, Callable[[int], Vector]] = {
    "nan": lambda dimension: (float("nan"),) * dimension,
    "inf": lambda dimension: (float("inf"),) * dimension,
    "huge": lambda dimension: (3e38,) * dimension,
    "wrong_dimension": lambda dimension: (0.5,) * (dimension + 1),
    "oversized": lambda _dimension: (0.5,) * _OVERSIZED,
}


def begun(ask: Ask, order: Order, *, own: bool) -> JsonObject:
    """Start a client process; `own` says that its collection is made for it and removed with it."""
    run = guarded_run()
    refuse_closing(run, "A client of a vector database was not started")
    name = checked_name(order.name)
    clients.refuse_taken(name)
    folder = run.directory / "vectors"
    folder.mkdir(mode=0o700, exist_ok=True)
    taken = len(list(folder.glob(f"{name}-*.log")))
    order = replace(order, report=str(folder / f"{name}-{taken + 1}.json"))
    deed = ClientDeed(ask.where, order.collection if own else None)
    run.note(
        CLIENT,
        role=order.role,
        name=name,
        backend=ask.where.kind,
        database=ask.where.url,
        collection=order.collection,
        own=own,
    )
    run.deeds.append(deed)
    if own:
        with connected(ask.where) as backend:
            backend.drop(order.collection)
            backend.create(order.collection, order.dimension)
    deed.client = clients.start(order)
    return {"name": name, "collection": order.collection, "duration_s": order.duration_s, "report": order.report}


def stopped(name: object) -> JsonObject:
    """Stop a client and return what it says of itself."""
    client = clients.by_name(name)
    client.stop()
    found = client.report()
    if found is None:
        raise BadArgument(f"The client {name!r} left no report: it did not come to its end.")
    return {"name": client.order.name, "report": client.order.report, **found}


def acknowledged(name: object, least_percent: object) -> bool:
    """Stop a writer and judge how many of its writes were acknowledged in time; before it began, none wait."""
    if isinstance(least_percent, bool) or not isinstance(least_percent, int | float) or not 0 < least_percent <= _WHOLE:
        raise BadArgument(f"least_percent must be over 0 and at most {_WHOLE}, not {least_percent!r}.")
    if not clients.started(name):
        logger.info("Nothing was written as %s in this run yet, so nothing waits to be acknowledged.", name)
        return True
    events = read_history(_history_of(name)).events
    asked = {one.op for one in events if isinstance(one, Asked) and one.do != "get"}
    done = sum(one.op in asked and one.outcome == "acknowledged" for one in events if isinstance(one, Ended))
    if not asked:
        raise ReadingUnknown(f"The client {name!r} has not asked for one write: nobody knows how they fare.")
    percent = _WHOLE * done / len(asked)
    if percent < least_percent:
        logger.warning("Of %d writes as %s %d were acknowledged in time, %.0f %%", len(asked), name, done, percent)
    return percent >= least_percent


def _history_of(name: object) -> Path:
    """Stop a writer and return the file of its history."""
    client = clients.by_name(name)
    if client.order.role != "write":
        raise BadArgument(f"The client {name!r} keeps no history: it is no writer.")
    client.stop()
    return Path(client.order.report).with_suffix(".jsonl")


def audited(ask: Ask, name: object, history: object, visible_within_s: object) -> Audited:
    """Audit the history of a client that has ended, or the one in a file."""
    if isinstance(visible_within_s, bool) or not isinstance(visible_within_s, int | float) or visible_within_s < 0:
        raise BadArgument(f"visible_within_s must be a number of seconds from 0 on, not {visible_within_s!r}.")
    if history is None:
        history = str(_history_of(name))
    if not isinstance(history, str):
        raise BadArgument(f"history must be the path of a history, not {history!r}.")
    found = read_history(Path(history))
    if found.header.kind != ask.where.kind:
        raise BadArgument(f"The history is of a {found.header.kind} database and {ask.where.url} is {ask.where.kind}.")
    with connected(ask.where) as backend:
        return audit(backend, found, float(visible_within_s))


def clean(ask: Ask, name: object, history: object, visible_within_s: object) -> bool:
    """Audit and log each finding; where nothing was written yet, as before the method, nothing can be lost."""
    if history is None and not clients.started(name):
        logger.info("Nothing was written as %s in this run yet, so there is nothing to audit.", name)
        return True
    found = audited(ask, name, history, visible_within_s).checked
    for one in found.findings:
        logger.warning("%s, %s", ask.where.url, one.sentence)
    if found.unread:
        logger.warning("%s: %d rows could not be read", ask.where.url, len(found.unread))
    return found.clean


def bad_vectors(ask: Ask, baseline: object, kinds: object) -> JsonObject:
    """Offer vectors to the canary collection that no database should take, and say which it took."""
    if not isinstance(kinds, list) or not kinds or not set(map(str, kinds)) <= set(BAD):
        raise BadArgument(f"kinds must be a list of some of {', '.join(BAD)}, not {kinds!r}.")
    known = ask.baseline(baseline)
    run = guarded_run()
    refuse_closing(run, "No bad vectors were put in")
    rows = {kind: FIRST_BAD + at for at, kind in enumerate(BAD) if kind in kinds}
    run.note(
        BAD_VECTORS,
        backend=ask.where.kind,
        database=ask.where.url,
        collection=known.collection,
        kinds=list(rows),
        rows=list(rows.values()),
    )
    run.deeds.append(RowsDeed(ask.where, known.collection, list(rows.values())))
    found: dict[str, JsonValue] = {}
    with connected(ask.where) as backend:
        backend.count(known.collection)  # a missing collection, a wrong key: said before anything is put in
        for kind, row in rows.items():
            try:
                backend.put(known.collection, [Row(row, BAD[kind](known.known.dimension))])
                found[kind] = "taken"
            except ChaosGpuError as error:
                found[kind] = f"{'refused' if outcome_of(error) == 'failed' else 'unknown'}: {error}"
    return {"collection": known.collection, "offered": found}
