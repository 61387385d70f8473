# SPDX-License-Identifier: Apache-2.0
"""Brings a lab up and takes it down: the steps in order, each with a deadline and a line of progress."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from chaosgpu.errors import LabFailed, Unreachable
from chaosgpu.lab import gpus
from chaosgpu.lab.guardian import clean
from chaosgpu.lab.install import TritonInstall, install
from chaosgpu.lab.plan import LabPlan, Running, alive, free_ports, new_identity
from chaosgpu.lab.repository import write_repository
from chaosgpu.lab.variants import variant
from chaosgpu.triton import api, canary
from chaosgpu.triton.golden import write_golden

__all__ = ["LabOptions", "bring_up", "running", "take_down"]

_READY_S = 30.0
_DOWN_S = 15.0
_POLL_S = 0.05
_LEARN_RUNS = 50
_LEARN_WITHIN_S = 5.0
# What the lab writes; anything else in its folder is not ours to remove.
_OURS = ("sim", "agent", "repository", "tmp", "lab.json", "canary.json", "traffic.jsonl",
         "triton.log", "traffic.log", "lab.log")  # fmt: skip
_POLICY = {
    "version": 1,
    "permit": ["gpu.*"],
    "max_duration_s": 600,
    "protected": {"units": [], "gpus": []},
    "approvals": {"required": False, "allowed_signers": None},
    "python": None,
}


@dataclass(frozen=True)
class LabOptions:
    """What `chaosgpu lab up` was asked for."""

    directory: Path
    variant: str = "fragile"
    profile: str = "h100"
    gpus: int = 1
    real_gpu: bool = False
    lifetime_s: float = 1800.0
    traffic: bool = True


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
        _clear(directory)
        plan = _write_plan(options, directory, triton)
        try:
            _start(plan, say, tie)
        except BaseException:  # an interrupt too must not leave a lab behind
            _end(plan)
            raise
    return plan


def _clear(directory: Path) -> None:
    before = LabPlan.read(directory)
    if before is not None:
        clean(before)
    for name in _OURS:
        path = directory / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _write_plan(options: LabOptions, directory: Path, triton: TritonInstall) -> LabPlan:
    chosen = variant(options.variant)
    library = {} if options.real_gpu else gpus.simulated(directory / "sim", options.profile, options.gpus)
    gpu = gpus.first_gpu(library)
    agent_home = directory / "agent"
    for folder in (agent_home, directory / "tmp"):
        folder.mkdir(mode=0o700)
    (agent_home / "policy.json").write_text(json.dumps(_POLICY, indent=1) + "\n")
    write_repository(directory / "repository", chosen, gpu, gpus.cuda_library(library))
    port = free_ports()
    exported = {
        **library,
        "CHAOSGPU_AGENT_HOME": str(agent_home),
        "TRITON_URL": f"http://127.0.0.1:{port}",
        "CHAOSGPU_CANARY": str(directory / "canary.json"),
        "CHAOSGPU_LAB_GPU": gpu.uuid,
        "CHAOSGPU_LAB_VARIANT": chosen.name,
    }
    plan = LabPlan(
        identity=new_identity(),
        directory=str(directory),
        variant=chosen.name,
        gpu=gpu.uuid,
        server=str(triton.server),
        backends=str(triton.backends),
        http_port=port,
        lifetime_s=options.lifetime_s,
        with_traffic=options.traffic,
        serving=_serving(exported, triton, directory / "tmp", simulated=bool(library)),
        exported=exported,
    )
    plan.write()
    return plan


def _serving(exported: dict[str, str], triton: TritonInstall, temporary: Path, *, simulated: bool) -> dict[str, str]:
    """Give Triton's whole environment.

    Triton must not find simulated libraries itself: its CUDA runtime wants more of them than the driver API, and does
    without a GPU when it finds none. The model loads the library that its configuration names.
    """
    libraries = ["" if simulated else os.environ.get("LD_LIBRARY_PATH", ""), str(triton.python_library_directory)]
    return {
        **{name: value for name, value in exported.items() if name.startswith("CHAOSGPU_")},
        **({"CUDA_VISIBLE_DEVICES": ""} if simulated else {}),
        "LD_LIBRARY_PATH": ":".join(part for part in libraries if part),
        "PATH": f"{triton.binaries}:/usr/bin:/bin",
        "TMPDIR": str(temporary),
        "HOME": str(temporary),
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _start(plan: LabPlan, say: Callable[[str], None], tie: int | None) -> None:
    say(f"starting Triton with the {plan.variant} service on {plan.gpu}")
    with plan.path("lab.log").open("ab") as log:
        guardian = subprocess.Popen(
            [sys.executable, "-m", "chaosgpu.lab.guardian", plan.directory],
            stdin=subprocess.DEVNULL if tie is None else tie,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **plan.exported, "CHAOSGPU_LAB_TIED": "0" if tie is None else "1"},
            start_new_session=True,
        )
    started = time.monotonic()
    _wait_until_ready(plan, guardian, started)
    say(f"Triton is ready at {plan.url} after {time.monotonic() - started:.1f} s")
    learning = time.monotonic()
    golden = canary.learn(plan.url, "chat", _LEARN_RUNS, _LEARN_WITHIN_S)
    write_golden(golden, plan.path("canary.json"))
    say(f"canary learned from {_LEARN_RUNS} answers in {time.monotonic() - learning:.1f} s")


def _wait_until_ready(plan: LabPlan, guardian: "subprocess.Popen[bytes]", started: float) -> None:
    while time.monotonic() - started < _READY_S:
        if guardian.poll() is not None:
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
        return _end(plan)


def _end(plan: LabPlan) -> bool:
    directory = Path(plan.directory)
    found = running(directory)
    for process in found:
        os.kill(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + _DOWN_S
    while any(alive(process) for process in found):
        if time.monotonic() > deadline:
            raise LabFailed(f"The lab in {directory} did not end within {_DOWN_S:g} s; see {plan.path('lab.log')}.")
        time.sleep(_POLL_S)
    clean(plan)
    return bool(found)
