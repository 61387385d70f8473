# SPDX-License-Identifier: Apache-2.0
"""The contract of one kind of thing that can be taken out of service and put back. drain.py and back.py call it.

`prior` first, which touches nothing and refuses; then `take`, any number of times; then `judge` once and `put_back`,
any number of times and from any process. What `take` and `put_back` claim is read back with `shown`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Callable, ClassVar, Dict, List

from chaosgpu.agent.clock import Clock
from chaosgpu.agent.errors import Unanswered
from chaosgpu.agent.service.record import Taken
from chaosgpu.agent.values import JsonObject

__all__ = ["Budget", "Judged", "Thing"]

_STEP_S = 0.1


@dataclass(frozen=True)
class Judged:
    """What a return would do: `plan` for `put_back`, what is seen afterwards, and what of others' is left alone."""

    plan: JsonObject
    after: Dict[str, str]
    left_alone: List[str] = field(default_factory=list)


class Budget:
    """How long all of a verb may take; each call gets what is left of it."""

    def __init__(self, clock: Clock, within_s: float) -> None:
        self.clock, self.within_s = clock, within_s
        self._end = clock.boottime_s() + within_s

    def left_s(self, most: float = 3600.0) -> float:
        """Return the seconds that are left; Unanswered where there are none."""
        left = self._end - self.clock.boottime_s()
        if left <= 0:
            raise Unanswered(f"The time is over: {self.within_s:g} s (within_s) were not enough.")
        return min(left, most)

    def wait(self, true: Callable[[], bool], most_s: float = 3600.0) -> bool:
        """Ask again and again until it is true; False where the time passed first."""
        end = min(self._end, self.clock.boottime_s() + most_s)
        while not true():
            if self.clock.boottime_s() >= end:
                return False
            self.clock.sleep(_STEP_S)
        return True


class Thing(ABC):
    """All of one kind that a drain names."""

    kind: ClassVar[str]
    # Users come in by it: it is taken first, and given back only where everything behind it is back.
    entry: ClassVar[bool] = False

    @abstractmethod
    def prior(self) -> JsonObject:
        """Return how it is now, as JSON; Refused where it could not be taken, or not be put back. Touches nothing."""

    @abstractmethod
    def shown(self, taken: Taken) -> Dict[str, str]:
        """Return how it is seen now: a few words for each name."""

    @abstractmethod
    def drained(self, taken: Taken) -> Dict[str, str]:
        """Return how it is seen when it is taken."""

    @abstractmethod
    def take(self, taken: Taken, budget: Budget) -> None:
        """Take it out of service; what is out already stays so."""

    @abstractmethod
    def judge(self, taken: Taken) -> Judged:
        """Tell what of it is ours to put back, and what somebody has changed meanwhile. Touches nothing."""

    @abstractmethod
    def put_back(self, taken: Taken, budget: Budget) -> List[str]:
        """Put back what `taken.plan` says; return what there is to say about it. Raises where it is not back."""
