# SPDX-License-Identifier: Apache-2.0
"""The generators that this process has started: each a process of its own that ends when this one is gone."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from chaosgpu import errors
from chaosgpu.errors import BadArgument, ChaosGpuError, Refused, Unreachable
from chaosgpu.fleet.values import JsonObject
from chaosgpu.traffic.plan import TrafficPlan

__all__ = ["COMMAND", "Running", "by_name", "start", "stop"]

COMMAND: tuple[str, ...] = (sys.executable, "-m", "chaosgpu.traffic.generator")
# Learning the answers of a model takes three rounds; the service answers, or traffic makes no sense.
_START_S = 60.0
_END_S = 5.0

type Start = Callable[[Sequence[str], Path], subprocess.Popen[bytes]]


@dataclass(eq=False)
class Running:
    """A generator under way."""

    plan: TrafficPlan
    process: subprocess.Popen[bytes]

    @property
    def going(self) -> bool:
        """Tell whether the process is there."""
        return self.process.poll() is None


_RUNNING: dict[str, Running] = {}


def by_name(name: str) -> Running | None:
    """Return the generator that was started last under this name."""
    return _RUNNING.get(name)


def spawn(command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    """Start it in a session of its own: Ctrl-C is for the controller, whose end closes its standard input."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file, start_new_session=True, bufsize=0
        )
    finally:
        os.close(file)


def start(plan: TrafficPlan, spawned: Start = spawn) -> Running:
    """Start a generator and wait until it sends; what it says against its plan is raised."""
    before = _RUNNING.get(plan.name)
    if before is not None and before.going:
        raise Refused(f"Traffic {plan.name!r} is already under way; stop it first, or give this one another name.")
    process = spawned(COMMAND, Path(plan.series).with_suffix(".log"))
    running = Running(plan, process)
    try:
        _tell(process, plan.to_json())
        _heed(plan, _answer(process))
    except BaseException:
        _end(process, 0.0)
        raise
    _RUNNING[plan.name] = running
    return running


def stop(name: object) -> Running:
    """Send nothing more, wait for what is under way, and see the process off. Again is harmless."""
    running = _RUNNING.get(name) if isinstance(name, str) else None
    if running is None:
        raise BadArgument(f"No traffic {name!r} was started in this run; there is: {', '.join(_RUNNING) or 'none'}.")
    _end(running.process, running.plan.timeout_s + _END_S)
    return running


def _tell(process: subprocess.Popen[bytes], line: str) -> None:
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):  # it has ended: its answer, or the lack of one, says so
            process.stdin.write(line.encode() + b"\n")


def _answer(process: subprocess.Popen[bytes]) -> JsonObject | None:
    """Read the one line that the generator says before it sends; None where it ended without one."""
    stream, said, end_s = process.stdout, b"", time.monotonic() + _START_S
    while stream is not None and not said.endswith(b"\n"):
        left_s = end_s - time.monotonic()
        if left_s <= 0 or not select.select([stream], [], [], left_s)[0]:
            raise Unreachable(f"The traffic generator did not begin within {_START_S:g} s; is the service answering?")
        piece = os.read(stream.fileno(), 65536)
        if not piece:
            return None
        said += piece
    document = json.loads(said)
    return document if isinstance(document, dict) else None


def _heed(plan: TrafficPlan, said: JsonObject | None) -> None:
    """Raise what the generator said against its plan."""
    if said is None:
        log = Path(plan.series).with_suffix(".log")
        words = log.read_text(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
        raise Refused(f"The traffic generator could not begin: {words[0]}. All it said is in {log}.")
    if "error" in said:
        kind = getattr(errors, str(said.get("kind")), ChaosGpuError)
        raise kind(f"{said['error']}")


def _end(process: subprocess.Popen[bytes], within_s: float) -> None:
    """Close its input, which ends it in order; after its time the whole group is killed."""
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
    try:
        process.wait(max(within_s, 0.05))
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
