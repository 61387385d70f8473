# SPDX-License-Identifier: Apache-2.0
"""How busy a GPU is and how busy one process keeps it, from one reading to the next."""

from dataclasses import dataclass
from typing import Optional

from chaosgpu.agent.faults.contract import Context
from chaosgpu.agent.faults.on_gpu import answer_object, whole_answer
from chaosgpu.agent.values import JsonMapping

__all__ = ["NEXT_SAMPLE_S", "ProcessLoad", "Reading"]

NEXT_SAMPLE_S = 2.5  # a driver samples every 1/6 to 1 s, by product
_ASK_EVERY_S = 0.1


@dataclass(frozen=True)
class Reading:
    """In percent how busy the GPU was, and with the process since the last reading; None: the driver does not tell."""

    total: Optional[int]
    mine: Optional[int]


class ProcessLoad:
    """The load of one process, of which only the driver's samples since the last reading count.

    Asked for all of its samples, a driver gives their mean, in which also counts what others did before.
    """

    def __init__(self, uuid: str, pid: int, context: Context) -> None:
        self._uuid, self._pid, self._context = uuid, pid, context
        self._since_us = 0

    def read(self) -> Reading:
        """Wait for the driver's next sample of the process and read it; none in time: it did nothing."""
        clock = self._context.clock
        end = clock.boottime_s() + NEXT_SAMPLE_S
        while True:
            load = answer_object(
                self._context, "reading its utilisation", "load_of", self._uuid, self._pid, self._since_us
            )
            total = _number(load, "total_percent")
            if load.get("process_seen_us") is None:
                return Reading(total, None)
            seen_us, since_us = whole_answer(load, "process_seen_us"), self._since_us
            self._since_us = seen_us
            if seen_us > since_us > 0:
                return Reading(total, _number(load, "process_percent"))
            if seen_us > since_us:  # the process has begun, and what comes from now on is its own
                end = clock.boottime_s() + NEXT_SAMPLE_S
            elif clock.boottime_s() >= end:
                return Reading(total, 0)
            clock.sleep(_ASK_EVERY_S)


def _number(load: JsonMapping, key: str) -> Optional[int]:
    found = load.get(key)
    return found if isinstance(found, int) else None
