# SPDX-License-Identifier: Apache-2.0
"""Readings over a window: one sample tells little, and counters only mean something as a difference."""

from dataclasses import dataclass
from typing import Callable, List, Optional, Sequence, Tuple

from chaosgpu.agent import values
from chaosgpu.agent.readings.catalogue import GPU_KEYS, Clock
from chaosgpu.agent.values import JsonMapping

LONGEST_S = 60.0
MOST_SAMPLES = 600
SERIES_KEYS = GPU_KEYS | {"window_s", "samples"}
WINDOW_KEYS = GPU_KEYS | {"window_s"}

Sample = Tuple[float, float]  # seconds since the first one, value


@dataclass(frozen=True)
class Window:
    """How long and how often."""

    seconds: float
    samples: int


def window_of(params: JsonMapping, samples: int = 2) -> Optional[Window]:
    """Read `window_s` and `samples`; None where no window is asked for."""
    if params.get("window_s") is None:
        return None
    seconds = values.number(params, "window_s", 0.01, LONGEST_S)
    count = values.whole(params, "samples", 2, MOST_SAMPLES) if params.get("samples") is not None else samples
    return Window(seconds, count)


def sample(read: Callable[[], float], window: Window, clock: Clock) -> List[Sample]:
    """Read at even distances over the window; a reading that takes long moves none of the later ones."""
    start_s = clock.boottime_s()
    found: List[Sample] = []
    for number in range(window.samples):
        due_s = start_s + window.seconds * number / (window.samples - 1)
        wait_s = due_s - clock.boottime_s()
        if wait_s > 0:
            clock.sleep(wait_s)
        found.append((clock.boottime_s() - start_s, read()))
    return found


def slope_per_s(samples: Sequence[Sample]) -> Optional[float]:
    """Return the slope of the least-squares line; None where all samples are of one moment."""
    middle_s = sum(at for at, _ in samples) / len(samples)
    middle = sum(value for _, value in samples) / len(samples)
    spread = sum((at - middle_s) ** 2 for at, _ in samples)
    if spread == 0:
        return None
    return sum((at - middle_s) * (value - middle) for at, value in samples) / spread
