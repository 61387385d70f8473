# SPDX-License-Identifier: Apache-2.0
"""A unit without a systemd: one real process that works in a folder, and a systemctl that starts and stops it."""

import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from chaosgpu.agent.clock import SystemClock
from chaosgpu.agent.errors import AgentError
from chaosgpu.agent.faults.contract import Context, Fault, Restored
from chaosgpu.agent.faults.unit_files_vanish import UnitFilesVanish
from chaosgpu.agent.systemd import Systemd
from chaosgpu.agent.values import JsonObject, JsonValue
from unit.faults.rig import Hurried

__all__ = ["UNIT", "FakeSystemd", "FakeUnit", "Files", "aside", "look", "why_not"]

UNIT = "db.service"
# As a database does: its log of writes stays open, and an index that is not there is made anew, empty.
_PROGRAM = """\
import pathlib, sys, time
log = open("wal.log", "a")
index = pathlib.Path("index.bin")
if not index.exists():
    index.write_bytes(b"empty")
print("up", flush=True)
time.sleep(1000)
"""


@dataclass
class FakeUnit:
    """One service: its process, and what systemd would say of it."""

    data: Path
    groups: Path
    more: dict[str, str] = field(default_factory=dict)
    process: "subprocess.Popen[str] | None" = None
    starts: int = 0
    asked: list[str] = field(default_factory=list)
    starting_fails: bool = False
    stopping_hangs: bool = False
    asked_to_stop: bool = False

    def start(self) -> None:
        if self.process is None:
            self.starts += 1
            self.asked_to_stop = False
            if not self.starting_fails:
                words = [sys.executable, "-c", _PROGRAM]
                self.process = subprocess.Popen(words, cwd=self.data, stdout=subprocess.PIPE, text=True)
                assert self.process.stdout is not None
                assert self.process.stdout.readline() == "up\n"
        self._tell()

    def stop(self) -> None:
        self.asked_to_stop = True
        if self.process is not None and not self.stopping_hangs:
            self.process.kill()
            self.process.communicate()
            self.process = None
        self._tell()

    def show(self) -> str:
        up = self.process is not None
        said = {
            "Id": UNIT, "Names": UNIT, "LoadState": "loaded", "Result": "success", "UnitFileState": "enabled",
            "ActiveState": "active" if up else "failed" if self.starting_fails else "inactive",
            "SubState": "running" if up else "dead", "InvocationID": f"start-{self.starts}", "Job": "0",
            "MainPID": str(self.process.pid if self.process is not None else 0), "ControlGroup": "/db",
            "ActiveExitTimestampMonotonic": "5" if self.asked_to_stop else "9", "ExecMainExitTimestampMonotonic": "7",
            **self.more,
        }  # fmt: skip
        return "".join(f"{name}={value}\n" for name, value in said.items())

    def _tell(self) -> None:
        folder = self.groups / "db"
        folder.mkdir(exist_ok=True)
        (folder / "cgroup.procs").write_text("" if self.process is None else f"{self.process.pid}\n")


@dataclass(frozen=True)
class FakeSystemd(Systemd):
    """A systemctl for this one unit."""

    unit: Any = None

    def ask(self, *words: str, within_s: float | None = None) -> str:  # noqa: ARG002 (the real one's)
        self.unit.asked.append(words[0])
        if words[0] == "show":
            return "running\n" if "--property=SystemState" in words else str(self.unit.show())
        if words[0] in ("start", "stop"):
            getattr(self.unit, words[0])()
        return ""


class _NoDriver:
    def call(self, name: str, *arguments: JsonValue) -> JsonValue:
        raise AssertionError((name, arguments))


@dataclass(frozen=True)
class Files:
    """One lease of a fault on the unit's files, whose steps are called one by one."""

    fault: Fault[Any]
    unit: FakeUnit
    context: Context
    params: Any
    prior: JsonObject

    @classmethod
    def context_in(cls, tmp_path: Path, unit: FakeUnit) -> Context:
        folder = tmp_path / "home" / "leases" / "l1"
        folder.mkdir(parents=True, exist_ok=True)
        systemd = FakeSystemd("/bin/false", "/bin/false", 252, unit)
        context = Context(_NoDriver(), SystemClock(), str(folder), find_systemd=lambda: systemd)
        return replace(context, clock=Hurried(context.clock))

    @classmethod
    def of(cls, fault: Fault[Any], unit: FakeUnit, tmp_path: Path, **params: JsonValue) -> "Files":
        context = cls.context_in(tmp_path, unit)
        parsed = fault.parse({"unit": UNIT, "files": [str(unit.data / "index.bin")], "back_within_s": 2, **params})
        fault.claims(parsed, context)
        fault.check(parsed, context)
        return cls(fault, unit, context, parsed, fault.capture(parsed, context))

    def inject(self) -> "Files":
        self.fault.inject(self.params, self.prior, self.context)
        return self

    def verify(self) -> Any:
        return self.fault.verify(self.params, self.prior, None, self.context)

    def undo(self) -> Restored:
        self.fault.undo(self.params, self.prior, self.context)
        return self.fault.restored(self.params, self.prior, None, self.context)


def aside(unit: FakeUnit, number: int = 0) -> Path:
    """Return where a file of the lease is aside: at the top of what the test calls a file system."""
    return unit.groups.parent / "chaosgpu-aside-l1" / str(number)


def look(unit: FakeUnit) -> dict[str, Any]:
    """Return all that an undo has to bring back: names, inodes, bytes and times."""
    files = {path.name: path for path in sorted(unit.data.iterdir())}
    index = files["index.bin"].stat()
    kept = (index.st_ino, index.st_mtime_ns, index.st_mode, index.st_uid, files["index.bin"].read_bytes())
    return {
        "names": [*files],
        "index": kept,
        "runs": unit.process is not None,
        "aside": aside(unit).parent.exists(),
    }


def why_not(unit: FakeUnit, tmp_path: Path, fault: Any = None, **params: Any) -> AgentError:
    before = look(unit)
    try:
        Files.of(fault or UnitFilesVanish(), unit, tmp_path, **params)
    except AgentError as error:
        assert "stop" not in unit.asked
        assert look(unit) == before
        return error
    raise AssertionError("it was not refused")
