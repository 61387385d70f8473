# SPDX-License-Identifier: Apache-2.0
"""One host to be struck: a home, a policy, and one thing to break, with a look at it behind the agent's back.

A home of its own lies in the host's folder; a host that is struck as a whole has the agent's usual one.
"""

import io
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pynvml

from chaosgpu.agent import nvml_calls  # noqa: F401 (loaded here once, not by the driver's child of each `ask`)
from chaosgpu.agent.clock import current_boot
from chaosgpu.agent.driver import ForkedDriver
from chaosgpu.agent.main import main
from chaosgpu.agent.store import Slots
from chaosgpu.agent.values import JsonMapping, JsonObject
from chaosgpu.selfdrill import entry, oracle

FILE, LOCK = "selfdrill.file", "selfdrill.holder"
TTL_S = 1.0
SLOWER_S = 3.0
BOUND_S = 5.0  # what may pass after the deadline (issue 3)
# Where the driver's child finds pynvml, and one order of everything in every start.
START_UP = {"PYTHONHASHSEED": "0", entry.PATHS: str(Path(pynvml.__file__).parent)}
_POLICY = {"version": 1, "permit": ["selfdrill.*"], "max_duration_s": 120}


@dataclass(frozen=True)
class Times:
    """How long a lease is given, and how long its undo may take after the deadline."""

    apply_s: float = TTL_S
    outlasts_s: float = SLOWER_S  # still active when the next verb comes, on a busy machine
    then_s: float = TTL_S  # from there on: as short as a lease can sensibly be
    bound_s: float = BOUND_S


@dataclass
class World:
    """A host with one fault to put in again and again."""

    folder: Path
    fault: str
    params: JsonObject
    environment: dict[str, str]
    look: Callable[[], Any]
    spared: tuple[int, ...] = ()
    times: Times = Times()
    count: int = 0

    def __post_init__(self) -> None:
        self.before = self.look()
        self._processes = oracle.Processes(self.mark)
        self.boot = asdict(current_boot())

    @property
    def home(self) -> Path:
        """The agent's home."""
        return self.folder / "home"

    @property
    def mark(self) -> str:
        """What every process of ours carries in its environment."""
        return oracle.mark_of(self.home)

    @property
    def lease(self) -> str:
        """The id of this point's lease."""
        return f"l{self.count}"

    @property
    def lease_folder(self) -> Path:
        """Where its record lies."""
        return self.home / "leases" / self.lease

    def order(self, *, outlasts: bool = False) -> JsonObject:
        """Return what is applied; `outlasts`: it is still to be active when the next verb comes."""
        ttl_s = self.times.outlasts_s if outlasts else self.times.apply_s
        return {
            "protocol": 1, "lease": self.lease, "fault": self.fault, "params": self.params, "ttl_s": ttl_s,
            "max_duration_s": 60, "run": "r1",
        }  # fmt: skip

    def ask(self, verb: str, request: JsonMapping) -> JsonObject:
        """Run a verb in this process: for what is not struck itself."""
        made = entry.parts(str(self.folder), self.environment[entry.WORLD])
        made = replace(made, new_driver=self._driver)
        out = io.BytesIO()
        main([verb], io.BytesIO(json.dumps(request).encode()), out, made, self.environment)
        answer: JsonObject = json.loads(out.getvalue())
        return answer

    def start(self, verb: str, request: JsonMapping) -> "subprocess.Popen[bytes]":
        """Start a verb as a process in a group of its own, to be struck."""
        child = subprocess.Popen(
            [*entry.START, verb], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, env=self.environment, start_new_session=True,
        )  # fmt: skip
        if child.stdin is not None:
            child.stdin.write(json.dumps(request).encode())
            child.stdin.close()
            child.stdin = None
        return child

    def plan(self, role: str, command: list[str], out: Path) -> None:
        """Order strace for the first process that has this role."""
        out.unlink(missing_ok=True)
        unfinished = self.folder / "strike.new"
        unfinished.write_text(json.dumps({"strace": command, "out": str(out)}), encoding="utf-8")
        unfinished.rename(self.folder / f"strike-{role}.json")

    def unplan(self) -> None:
        """Take back orders that nobody took."""
        for path in self.folder.glob("strike-*.json"):
            path.unlink(missing_ok=True)

    def pids(self, *verbs: str) -> list[int]:
        """Return the processes of these verbs."""
        found = self._processes.soon()
        return [pid for pid, words in found.items() if oracle.verb_of(words) in verbs and pid not in self.spared]

    def changed(self) -> bool:
        """Tell whether the fault is in force, wholly or in part."""
        return bool(self.look() != self.before)

    def residue(self) -> list[str]:
        """Name everything that is not as it was before."""
        changed = [f"the fault: {line}" for line in _differences("", self.before, self.look())]
        ours = self._processes.all()
        alive = {pid: ours[pid] for pid in ours if pid not in self.spared}
        return [*changed, *oracle.residue(self.folder, self.home, alive), *self.left()]

    def left(self) -> list[str]:
        """Name what else of ours is left, on a host that has more than processes and files."""
        return []

    def litter(self) -> list[str]:
        """Name files that nobody will look at again."""
        return oracle.litter(self.home)

    def waits(self) -> bool:
        """Tell whether something but a process will end the lease."""
        return False

    def leave_to(self, who: str) -> None:
        """Take away whoever else would end the lease: `keep` is its keeper, `due` its timer where systemd is."""

    def units_of_keepers(self) -> tuple[str, ...]:
        """Return how that which `left` names of a keeper begins."""
        return ()

    def lose_keepers(self, *others: str) -> None:
        """Take away whoever would end the lease, and others of ours."""
        for pid in self.pids(*entry.KEEPERS, *others):
            kill(pid)

    def renew(self) -> None:
        """Begin a point: nothing of the last one but the host itself."""
        shutil.rmtree(self.home / "leases", ignore_errors=True)
        for path in (self.home / "HALT", self.folder / "run" / "HALT"):
            path.unlink(missing_ok=True)
        self.unplan()
        self.count += 1

    def forget_boot(self) -> None:
        """Make the lease's record one of an earlier start: in turn by another boot id, and by another PID 1 alone."""
        slots = Slots(str(self.lease_folder), "state")
        found = slots.read()
        if found is None:
            return
        earlier = {"boot_id": "an earlier one"} if self.count % 2 else {"init_start": self.boot["init_start"] - 1}
        slots.write({**found[1], "boot": {**self.boot, **earlier}})

    def end(self) -> None:
        """End whatever is left, by the home that it carries."""
        for pid in oracle.processes(self.mark):
            kill(pid)

    def _driver(self, environment: Any = None, library: Any = None) -> ForkedDriver:
        return ForkedDriver(self.environment if environment is None else environment, library)


def kill(pid: int) -> None:
    """Kill one process that may be gone already."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def on_file(folder: Path, fault: str) -> World:
    """Make a host for one of the two faults that harm nobody."""
    home, file = folder / "home", folder / "file"
    home.mkdir()
    (home / "policy.json").write_text(json.dumps(_POLICY), encoding="utf-8")
    file.write_text("well", encoding="utf-8")
    environment = {**os.environ, "CHAOSGPU_AGENT_HOME": str(home), entry.WORLD: "files", **START_UP}

    def look() -> Any:
        return file.read_text(encoding="utf-8"), oracle.is_locked(file)

    return World(folder, fault, {"path": str(file)}, environment, look)


def _differences(name: str, before: Any, now: Any) -> list[str]:
    """Name each value that is not as it was."""
    if isinstance(before, dict) and isinstance(now, dict):
        keys = sorted({*before, *now})
        return [line for key in keys for line in _differences(key, before.get(key), now.get(key))]
    if isinstance(before, (list, tuple)) and isinstance(now, (list, tuple)) and len(before) == len(now):
        return [line for pair in zip(before, now, strict=True) for line in _differences(name, *pair)]
    return [] if before == now else [f"{name} was {before} and is {now}".strip()]
