# SPDX-License-Identifier: Apache-2.0
"""Brings a lab up and takes it down: the steps in order, each with a deadline and a line of progress."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from chaosgpu.errors import ChaosGpuError, LabFailed, Unreachable
from chaosgpu.lab.alerting import wait_until_ready
from chaosgpu.lab.guardian import clean
from chaosgpu.lab.install import install
from chaosgpu.lab.pipeline import fill, wait_for_traffic
from chaosgpu.lab.plan import TIED, LabPlan, Running, alive, process_start
from chaosgpu.lab.prepare import LabOptions, clear, write_plan
from chaosgpu.triton import api, canary
from chaosgpu.triton.golden import Golden, write_golden

__all__ = ["bring_up", "running", "take_down"]

_READY_S = 60.0
_DOWN_S = 25.0
_UNDO_S = 30.0
_POLL_S = 0.05
_PIPELINE_TRAFFIC_S = 4  # as many seconds as its probes look back
_LEARN_RUNS = 50
_LEARN_WITHIN_S = 5.0
_LEARN_S = 60.0


def running(directory: Path) -> list[Running]:
    """List the guardian and the supervisor of a folder's lab, as far as they are alive."""
    try:
        both = json.loads((directory / "running.json").read_text())
        recorded = [Running(int(one["pid"]), int(one["start"])) for one in both.values() if one["start"] is not None]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return []
    return [process for process in recorded if alive(process)]


@contextmanager
def _only_one(directory: Path) -> Iterator[None]:
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LabFailed(f"Another chaosgpu lab command is at work in {directory}; wait for it to end.") from error
        yield


def bring_up(options: LabOptions, say: Callable[[str], None], tie: int | None = None) -> LabPlan:
    """Bring a lab up and return its plan; what a failure leaves is ended. `tie` is a pipe that holds it up."""
    directory = options.directory.resolve()
    with _only_one(directory):
        if running(directory):
            raise LabFailed(f"A lab is already up in {directory}; take it down first: chaosgpu lab down")
        triton = install(say)
        clear(directory)
        plan = write_plan(options, directory, triton, say)
        say(f"starting Triton with the {plan.variant} service on {plan.gpu}")
        if options.real_gpu:
            say("this is a real GPU: the lab's agent home permits faults on simulated ones only")
        guardian = _spawn_guardian(plan, tie)
        with ExitStack() as on_failure:  # an interrupt too must not leave a lab behind
            on_failure.callback(_end, plan, [guardian])
            _make_ready(plan, guardian, say)
            if options.alerts:
                wait_until_ready(plan.exported, say)
            if options.pipeline:
                fill(plan, plan.exported["CHAOSGPU_LAB_STORE_URL"], plan.exported["CHAOSGPU_LAB_GATEWAY_URL"], say)
                if options.traffic:
                    wait_for_traffic(Path(plan.exported["CHAOSGPU_LAB_TRAFFIC"]), _PIPELINE_TRAFFIC_S)
            elif options.traffic:  # what it takes for right it has learned before anybody can break something
                wait_for_traffic(plan.path("traffic.jsonl"), 1)
            on_failure.pop_all()
    return plan


def _spawn_guardian(plan: LabPlan, tie: int | None) -> Running:
    """Start the guardian in a session of its own; it is not waited for, it outlives this command."""
    with plan.path("lab.log").open("ab") as log, Path(os.devnull).open("rb") as nothing:
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-m", "chaosgpu.lab.guardian", plan.directory],
            {**os.environ, **plan.exported, TIED: "0" if tie is None else "1"},
            file_actions=[
                (os.POSIX_SPAWN_DUP2, nothing.fileno() if tie is None else tie, 0),
                (os.POSIX_SPAWN_DUP2, log.fileno(), 1),
                (os.POSIX_SPAWN_DUP2, log.fileno(), 2),
            ],
            setsid=True,
        )
    return Running(pid, process_start(pid) or 0)


def _make_ready(plan: LabPlan, guardian: Running, say: Callable[[str], None]) -> None:
    started = time.monotonic()
    _wait_until_ready(plan, guardian, started + _READY_S)
    say(f"Triton is ready at {plan.url} after {time.monotonic() - started:.1f} s")
    learning = time.monotonic()
    write_golden(_learned(plan.url, learning + _LEARN_S), plan.path("canary.json"))
    say(f"canary learned from {_LEARN_RUNS} answers in {time.monotonic() - learning:.1f} s")


def _learned(url: str, deadline: float) -> Golden:
    """Learn the canary; on a machine that is busy with other things the hardened service refuses some requests."""
    while True:
        try:
            return canary.learn(url, "chat", _LEARN_RUNS, _LEARN_WITHIN_S)
        except ChaosGpuError:
            if time.monotonic() > deadline:
                raise


def _wait_until_ready(plan: LabPlan, guardian: Running, deadline: float) -> None:
    while time.monotonic() < deadline:
        if not alive(guardian):
            raise LabFailed(f"Triton ended before it was ready:\n{_last_words(plan)}")
        try:
            if api.health(plan.url, "/v2/models/chat/ready", 1.0):
                return
        except Unreachable:
            pass  # not listening yet
        time.sleep(_POLL_S)
    raise LabFailed(f"Triton was not ready within {_READY_S:g} s:\n{_last_words(plan)}")


def _last_words(plan: LabPlan) -> str:
    words: list[str] = []
    for name in ("lab.log", "triton.log"):
        path = plan.path(name)
        if path.exists():
            words += path.read_text(errors="replace").splitlines()[-8:]
    return "\n".join(words) or f"nothing was written to {plan.path('triton.log')}"


def take_down(directory: Path) -> bool:
    """Take the lab of a folder down: True if one was up. Safe to call twice."""
    directory = directory.resolve()
    plan = LabPlan.read(directory)
    if plan is None:
        return False
    with _only_one(directory):
        found = running(directory)
        if found:
            _undo_leases(plan)
        _end(plan, found)
        return bool(found)


def _undo_leases(plan: LabPlan) -> None:
    """Undo what a drill left open, so that no holder outlives the lab; the agent's own words if it cannot."""
    if not (plan.path("agent") / "leases").exists():
        return
    try:
        subprocess.run(
            [sys.executable, "-m", "chaosgpu.agent", "undo"],
            input='{"protocol": 1, "all": true, "operator": "chaosgpu lab down"}',
            env={**os.environ, **plan.exported},
            capture_output=True,
            text=True,
            timeout=_UNDO_S,
            check=True,
        )
    except subprocess.SubprocessError as error:
        words = getattr(error, "stdout", None) or str(error)
        with plan.path("lab.log").open("a") as log:
            log.write(f"the agent could not undo what was open: {words}\n")


def _end(plan: LabPlan, processes: list[Running]) -> None:
    for process in processes:
        if alive(process):
            os.kill(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + _DOWN_S
    while any(alive(process) for process in processes):
        if time.monotonic() > deadline:
            raise LabFailed(f"The lab in {plan.directory} did not end within {_DOWN_S:g} s; see its lab.log.")
        time.sleep(_POLL_S)
    for process in processes:
        with suppress(ChildProcessError):  # another command's child, or none
            os.waitpid(process.pid, os.WNOHANG)
    clean(plan)
