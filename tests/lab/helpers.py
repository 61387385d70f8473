# SPDX-License-Identifier: Apache-2.0
"""What the lab's tests share: filling memory, finding a lab's processes, waiting."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from chaosgpu.lab.plan import LabPlan

_HOG = Path(__file__).parent / "hog.py"


@contextmanager
def memory_filled(plan: LabPlan, leave_free_percent: float) -> Iterator[None]:
    """Hold the GPU's memory at a level by a process of our own, and give it back by ending that process."""
    hog = subprocess.Popen(
        [sys.executable, str(_HOG), plan.gpu, str(leave_free_percent)],
        env={**os.environ, **plan.exported},
        stdout=subprocess.PIPE,
    )
    try:
        assert hog.stdout is not None
        assert hog.stdout.readline() == b"full\n"
        yield
    finally:
        hog.kill()
        hog.communicate()


def until(true: Callable[[], bool], within_s: float) -> bool:
    """Poll until something is true."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if true():
            return True
        time.sleep(0.05)
    return False


def processes_of(directory: Path) -> dict[int, str]:
    """Every process whose environment carries this lab's agent home."""
    mark = f"CHAOSGPU_AGENT_HOME={directory.resolve() / 'agent'}".encode()
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
    return found


def stubs_of(plan: LabPlan) -> list[int]:
    """List the Python backend's processes of one lab."""
    return [
        pid for pid, command in processes_of(Path(plan.directory)).items() if "triton_python_backend_stub" in command
    ]


def pids(directory: Path) -> dict[str, int]:
    """Read the guardian's and the supervisor's process ids."""
    recorded = json.loads((directory / "running.json").read_text())
    return {name: one["pid"] for name, one in recorded.items()}


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
