# SPDX-License-Identifier: Apache-2.0
"""The verdict of the canary collection: every reason why it is not right, against the learned baseline."""

from collections.abc import Callable
from dataclasses import dataclass

from chaosgpu.errors import ChaosGpuError, Unreachable
from chaosgpu.fleet.values import JsonObject
from chaosgpu.vectordb import canary
from chaosgpu.vectordb.backends.address import Address
from chaosgpu.vectordb.backends.connect import connected
from chaosgpu.vectordb.backends.contract import Backend
from chaosgpu.vectordb.baseline import Baseline
from chaosgpu.vectordb.canary import Searched, Selves, Stored

__all__ = ["Judged", "judge"]


@dataclass(frozen=True)
class Judged:
    """What was found, and what is wrong with it; None for what could not be asked."""

    why: tuple[str, ...]
    searched: Searched | None
    selves: Selves | None
    stored: Stored | None
    # Beside the rest, never instead of it: what a plain check would have said.
    healthy: bool | None
    count: int | None

    @property
    def right(self) -> bool:
        """Whether everything was found as it must be."""
        return not self.why

    def to_json(self) -> JsonObject:
        """Return the plain JSON of an activity's answer."""
        return {
            "right": self.right,
            "why": list(self.why),
            **({} if self.searched is None else self.searched.to_json()),
            "not_first_for_themselves": None if self.selves is None else len(self.selves.missing),
            "stored": None if self.stored is None else self.stored.to_json(),
            "health_check": self.healthy,
            "count": self.count,
        }


def judge(where: Address, baseline: Baseline) -> Judged:
    """Ask everything. What fails is a reason, and the rest is asked all the same, unless nobody answers at all."""
    asking = _Asking(baseline)
    with connected(where) as backend:
        healthy = asking.plain(backend.healthy)
        searched = asking.ask(lambda: canary.search_known(backend, baseline.collection, baseline.known))
        selves = asking.ask(lambda: asking.selves(backend))
        stored = asking.ask(lambda: canary.check_stored(backend, baseline.collection, baseline.known))
        count = asking.plain(lambda: backend.count(baseline.collection))
    why = [*asking.why, *reasons(baseline, searched, selves, stored)]
    return Judged(tuple(dict.fromkeys(why)), searched, selves, stored, healthy, count)


class _Asking:
    """Collects why something could not be asked; after a server that cannot be reached, nothing more is asked."""

    def __init__(self, baseline: Baseline) -> None:
        self._baseline = baseline
        self.why: list[str] = []
        self._reached = True

    def ask[Answer](self, question: Callable[[], Answer]) -> Answer | None:
        if not self._reached:
            return None
        try:
            return question()
        except ChaosGpuError as error:
            self._reached = not isinstance(error, Unreachable)
            self.why.append(str(error))
            return None

    def plain[Answer](self, question: Callable[[], Answer]) -> Answer | None:
        try:
            return question() if self._reached else None
        except ChaosGpuError:
            return None

    def selves(self, backend: Backend) -> Selves:
        return canary.search_selves(backend, self._baseline.collection, canary.selves_of(self._baseline.known))


def reasons(baseline: Baseline, searched: Searched | None, selves: Selves | None, stored: Stored | None) -> list[str]:
    """Return why what was found is not as it was learned."""
    found = []
    if searched is not None and searched.recall < baseline.alarm_below:
        found.append(
            f"recall@{baseline.known.k} is {searched.recall:.3f}, which is not chance any more below "
            f"{baseline.alarm_below:.3f} (it was {baseline.recall:.3f})"
        )
    if searched is not None and searched.short:
        found.append(f"{searched.short} of {baseline.known.queries} answers have fewer than {baseline.known.k} rows")
    if searched is not None and searched.foreign:
        found.append(f"{searched.foreign} neighbours are no vectors of the known set")
    if selves is not None and (lost := set(selves.missing) - set(baseline.selves_missing)):
        found.append(f"{len(lost)} of {selves.asked} vectors do not come first for themselves")
    if stored is not None and stored.wrong:
        found.append(stored.sentence())
    return found
