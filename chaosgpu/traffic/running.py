# SPDX-License-Identifier: Apache-2.0
"""The generators that this process has started: each a process of its own that ends when this one is gone."""

import contextlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from chaosgpu import errors
from chaosgpu.errors import BadArgument, ChaosGpuError, Refused, Unreachable
from chaosgpu.lease.piped import Started, ask_first, end_piped, last_words, start_piped
from chaosgpu.traffic.plan import TrafficPlan

__all__ = ["COMMAND", "Running", "by_name", "start", "stop"]

COMMAND: tuple[str, ...] = (sys.executable, "-m", "chaosgpu.traffic.generator")
# Learning the answers of a model takes three rounds; the service answers, or traffic makes no sense.
_START_S = 60.0
_END_S = 5.0

type Start = Callable[[Sequence[str], Path], Started]


@dataclass(eq=False)
class Running:
    """A generator under way."""

    plan: TrafficPlan
    process: Started

    @property
    def going(self) -> bool:
        """Tell whether the process is there."""
        return self.process.poll() is None


_RUNNING: dict[str, Running] = {}


def by_name(name: str) -> Running | None:
    """Return the generator that was started last under this name."""
    return _RUNNING.get(name)


def start(plan: TrafficPlan, spawned: Start = start_piped) -> Running:
    """Start a generator and wait until it sends; what it says against its plan is raised."""
    before = _RUNNING.get(plan.name)
    if before is not None and before.going:
        raise Refused(f"Traffic {plan.name!r} is already under way; stop it first, or give this one another name.")
    process = spawned(COMMAND, Path(plan.series).with_suffix(".log"))
    running = Running(plan, process)
    with contextlib.ExitStack() as on_failure:
        on_failure.callback(end_piped, process, 0.0)
        _begin(plan, process)
        on_failure.pop_all()
    _RUNNING[plan.name] = running
    return running


def stop(name: object) -> Running:
    """Send nothing more, wait for what is under way, and see the process off. Again is harmless."""
    running = _RUNNING.get(name) if isinstance(name, str) else None
    if running is None:
        raise BadArgument(f"No traffic {name!r} was started in this run; there is: {', '.join(_RUNNING) or 'none'}.")
    end_piped(running.process, running.plan.timeout_s + _END_S)
    return running


def _begin(plan: TrafficPlan, process: Started) -> None:
    """Give the generator its plan, and raise what it says against it."""
    try:
        said = ask_first(process, plan.to_json(), _START_S)
    except TimeoutError as error:
        raise Unreachable(
            f"The traffic generator did not begin within {_START_S:g} s; is the service answering?"
        ) from error
    if said is None:
        log = Path(plan.series).with_suffix(".log")
        raise Refused(f"The traffic generator could not begin: {last_words(log)}. All it said is in {log}.")
    if "error" in said:
        kind = getattr(errors, str(said.get("kind")), ChaosGpuError)
        raise kind(f"{said['error']}")
