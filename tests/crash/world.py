# SPDX-License-Identifier: Apache-2.0
"""One host to be struck: a home, a policy, and one thing to break, with a look at it behind the agent's back."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from chaosgpu.agent.driver import ForkedDriver
from chaosgpu.agent.main import main
from chaosgpu.agent.values import JsonMapping, JsonObject
from crash import crash_agent, oracle
from crash.strace import Call, command
from unit.faults import rig as rigs
from unit.faults.cases import CASES

ENTRY = Path(crash_agent.__file__).resolve()
FILE, LOCK = "test.file.set", "test.lock.hold"
GPU_FAULTS = tuple(case.fault for case in CASES if case.fault != "gpu.process.kill")
FAULTS = (FILE, LOCK, *GPU_FAULTS)
TTL_S = 1.0
# A burn and a leak are proved over a second, so a lease of one second would be over before it is active.
SLOW = ("gpu.burn", "gpu.memory.leak")
SLOWER_S = 3.0


@dataclass
class World:
    """A host with one fault to put in again and again."""

    folder: Path
    fault: str
    params: JsonObject
    environment: dict[str, str]
    look: Callable[[], Any]
    spared: tuple[int, ...] = ()
    count: int = 0

    def __post_init__(self) -> None:
        self.before = self.look()

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def lease(self) -> str:
        return f"l{self.count}"

    @property
    def lease_folder(self) -> Path:
        return self.home / "leases" / self.lease

    def order(self, *, outlasts: bool = False) -> JsonObject:
        """Return what is applied; `outlasts`: it is still to be active when the next verb comes, on a busy machine."""
        ttl_s = SLOWER_S if outlasts or self.fault in SLOW else TTL_S
        return {
            "protocol": 1, "lease": self.lease, "fault": self.fault, "params": self.params, "ttl_s": ttl_s,
            "max_duration_s": 60, "run": "r1",
        }  # fmt: skip

    def ask(self, verb: str, request: JsonMapping) -> JsonObject:
        """Run a verb in this process: for what is not struck itself."""
        made = crash_agent.parts(self.home, self.environment[crash_agent.WORLD])
        made = replace(made, new_driver=self._driver)
        out = io.BytesIO()
        main([verb], io.BytesIO(json.dumps(request).encode()), out, made, self.environment)
        answer: JsonObject = json.loads(out.getvalue())
        return answer

    def start(self, verb: str, request: JsonMapping) -> "subprocess.Popen[bytes]":
        """Start a verb as a process in a group of its own, to be struck."""
        child = subprocess.Popen(
            [sys.executable, "-B", str(ENTRY), verb], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, env=self.environment, start_new_session=True,
        )  # fmt: skip
        assert child.stdin is not None
        child.stdin.write(json.dumps(request).encode())
        child.stdin.close()
        child.stdin = None
        return child

    def plan(self, role: str, kill_at: Call | None, out: Path) -> None:
        """Order strace for the first process that has this role."""
        out.unlink(missing_ok=True)
        unfinished = self.folder / "crash.new"
        unfinished.write_text(json.dumps({"strace": command(out, kill_at), "out": str(out)}))
        unfinished.rename(self.folder / f"crash-{role}.json")

    def unplan(self) -> None:
        """Take back orders that nobody took."""
        for path in self.folder.glob("crash-*.json"):
            path.unlink(missing_ok=True)

    def pids(self, *verbs: str) -> list[int]:
        """Return the processes of these verbs."""
        found = oracle.processes(self.home)
        return [pid for pid, words in found.items() if oracle.verb_of(words) in verbs and pid not in self.spared]

    def changed(self) -> bool:
        """Tell whether the fault is in force, wholly or in part."""
        return bool(self.look() != self.before)

    def residue(self) -> list[str]:
        """Name everything that is not as it was before."""
        changed = [f"the fault: {line}" for line in _differences("", self.before, self.look())]
        return changed + oracle.residue(self.home, self.spared)

    def renew(self) -> None:
        """Begin a point: nothing of the last one but the host itself."""
        shutil.rmtree(self.home / "leases", ignore_errors=True)
        for path in (self.home / "HALT", self.folder / "run" / "HALT"):
            path.unlink(missing_ok=True)
        self.unplan()
        self.count += 1

    def end(self) -> None:
        """End whatever is left, by the home that it carries."""
        for pid in oracle.processes(self.home):
            kill(pid)

    def _driver(self, environment: Any = None, library: Any = None) -> ForkedDriver:
        return ForkedDriver(self.environment if environment is None else environment, library)


def kill(pid: int) -> None:
    """Kill one process that may be gone already."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def build(folder: Path, fault: str) -> World:
    """Make a host for one fault."""
    if fault in (FILE, LOCK):
        return _files(folder, fault)
    rig = rigs.build(folder, "h100")
    rig.environment |= {crash_agent.WORLD: "gpu", "PYTHONHASHSEED": "0"}
    [case] = [case for case in CASES if case.fault == fault]
    # A burn of 60 percent cannot be had where the test's own processes want the cores.
    params: JsonObject = {"gpu": rig.uuid, "duty_percent": 15} if fault == "gpu.burn" else case.params(rig)
    spared = tuple(rig.ours())

    def look() -> Any:
        return rig.settings(), [_letter(pid) for pid in spared]

    _settle(look)
    return World(folder, fault, params, rig.environment, look, spared)


def _files(folder: Path, fault: str) -> World:
    home, file = folder / "home", folder / "file"
    home.mkdir()
    (home / "policy.json").write_text(json.dumps({"version": 1, "permit": ["test.*"], "max_duration_s": 120}))
    file.write_text("well")
    environment = {
        **os.environ, "CHAOSGPU_AGENT_HOME": str(home), crash_agent.WORLD: "files", "PYTHONHASHSEED": "0",
    }  # fmt: skip
    return World(folder, fault, {"path": str(file)}, environment, lambda: (file.read_text(), oracle.is_locked(file)))


def _differences(name: str, before: Any, now: Any) -> list[str]:
    """Name each value that is not as it was."""
    if isinstance(before, dict) and isinstance(now, dict):
        keys = sorted({*before, *now})
        return [line for key in keys for line in _differences(key, before.get(key), now.get(key))]
    if isinstance(before, (list, tuple)) and isinstance(now, (list, tuple)) and len(before) == len(now):
        return [line for pair in zip(before, now, strict=True) for line in _differences(name, *pair)]
    return [] if before == now else [f"{name} was {before} and is {now}".strip()]


def _letter(pid: int) -> str:
    """Return whether a process of the service is stopped, runs, or is gone."""
    try:
        letter = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "gone"
    return "stopped" if letter == "T" else "runs"


def _settle(look: Callable[[], Any]) -> None:
    """Wait until two looks are alike."""
    last = None
    while last != (last := look()):
        time.sleep(0.05)
