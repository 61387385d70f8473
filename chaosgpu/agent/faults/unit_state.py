# SPDX-License-Identifier: Apache-2.0
"""One systemd unit as PID 1 describes it now, with types; who is in its control group comes from the kernel."""

import os
from dataclasses import dataclass
from typing import Dict, List, Optional, Sequence, Tuple

from chaosgpu.agent.errors import Refused, Unanswered
from chaosgpu.agent.process import Identity, identity
from chaosgpu.agent.systemd import Systemd

__all__ = [
    "UnitState",
    "group_folder",
    "host_is_starting",
    "look_at",
    "members",
    "pending_edits",
    "show",
    "start_is_queued",
]

CGROUPS = "/sys/fs/cgroup"
EVERY_UNIT_WITHIN_S = 20.0  # hundreds of units on a busy host
_PROPERTIES = (
    "Id", "Names", "LoadState", "ActiveState", "SubState", "Result", "MainPID", "InvocationID", "NRestarts", "Restart",
    "ControlGroup", "DropInPaths", "UnitFileState", "FreezerState", "CanFreeze", "CanStart", "CanStop", "WatchdogUSec",
    "TriggeredBy", "Job", "RequiredBy", "RequisiteOf", "BoundBy", "ConsistsOf", "EnvironmentFiles", "DevicePolicy",
    "DeviceAllow", "ActiveExitTimestampMonotonic", "ExecMainExitTimestampMonotonic",
)  # fmt: skip


@dataclass(frozen=True)
class UnitState:
    """What `systemctl show` says of one unit; a property that this systemd does not know is empty."""

    shown: Dict[str, Tuple[str, ...]]

    @property
    def id(self) -> str:
        """Return its canonical name, whichever alias was asked for."""
        return self.text("Id")

    @property
    def names(self) -> Tuple[str, ...]:
        """Return its name and its aliases."""
        return self.words("Names")

    @property
    def active(self) -> bool:
        """Tell whether it is up; one that is reloading is."""
        return self.text("ActiveState") in ("active", "reloading")

    @property
    def down(self) -> bool:
        """Tell whether it is down and stays so for now: neither running nor on its way."""
        return self.text("ActiveState") in ("inactive", "failed")

    @property
    def failed(self) -> bool:
        """Tell whether systemd holds it for failed; if that was often, it starts only after reset-failed."""
        return self.text("ActiveState") == "failed"

    @property
    def frozen(self) -> bool:
        """Tell whether it is frozen or being frozen, as systemd sees it."""
        return self.text("FreezerState").startswith("fr")

    @property
    def has_job(self) -> bool:
        """Tell whether PID 1 has a start, stop or restart of it under way."""
        return self.whole("Job") > 0

    @property
    def main_pid(self) -> int:
        """Return its main process; 0 where it has none."""
        return self.whole("MainPID")

    @property
    def was_asked_to_stop(self) -> bool:
        """Tell whether somebody stopped it: then it left its active state before its main process ended."""
        left, ended = self.whole("ActiveExitTimestampMonotonic"), self.whole("ExecMainExitTimestampMonotonic")
        return self.text("ActiveState") == "inactive" and 0 < left < ended

    def text(self, name: str) -> str:
        """Return one property; empty where there is none."""
        return (self.shown.get(name) or ("",))[-1]

    def words(self, name: str) -> Tuple[str, ...]:
        """Return a property that is a list of names or paths."""
        return tuple(self.text(name).split())

    def whole(self, name: str) -> int:
        """Return a number; 0 where there is none."""
        shown = self.text(name)
        return int(shown) if shown.isdigit() else 0

    def main_process(self) -> Optional[Identity]:
        """Return its main process with its start time; None where it has none."""
        return identity(self.main_pid) if self.main_pid else None


def show(systemd: Systemd, properties: Sequence[str], *words: str, within_s: Optional[float] = None) -> str:
    """Return what `systemctl show` says; Unanswered where it says nothing: it ends with 0 also if it cannot write."""
    said = systemd.ask("show", f"--property={','.join(properties)}", *words, within_s=within_s)
    if not said.strip():
        raise Unanswered(
            f"`systemctl show {' '.join(words)}` said nothing, so nobody knows how it is; nothing was touched."
        )
    return said


def look_at(systemd: Systemd, unit: str) -> UnitState:
    """Ask systemd for one unit."""
    shown: Dict[str, List[str]] = {}
    for line in show(systemd, _PROPERTIES, "--", unit).splitlines():
        name, _, value = line.partition("=")
        shown.setdefault(name, []).append(value)
    return UnitState({name: tuple(found) for name, found in shown.items()})


def members(state: UnitState) -> List[Identity]:
    """Return every process of its control group and of those below it; none where it has no such group."""
    group = state.text("ControlGroup")
    found: List[Identity] = []
    for folder, _, files in os.walk(f"{CGROUPS}{group}") if group else ():
        if "cgroup.procs" in files:
            with open(f"{folder}/cgroup.procs", encoding="ascii") as file:  # noqa: PTH123 (pathlib costs 9 ms at start)
                found += [who for who in map(identity, map(int, file.read().split())) if who is not None]
    return found


def group_folder(state: UnitState) -> str:
    """Return the folder of its control group; Refused where the hierarchy is not the unified one."""
    folder = f"{CGROUPS}{state.text('ControlGroup')}"
    if not state.text("ControlGroup") or not os.path.exists(f"{folder}/cgroup.procs"):  # noqa: PTH110 (as above)
        raise Refused(
            f"The control group of {state.id} is not at {folder}: this host does not have the unified hierarchy "
            "(cgroup v2) there, and what the unit does could not be seen. Nothing was touched."
        )
    return folder


def host_is_starting(systemd: Systemd) -> bool:
    """Tell whether the host is still on its way up."""
    return show(systemd, ("SystemState",), "--value").strip() in ("initializing", "starting")


def start_is_queued(systemd: Systemd, unit: str) -> bool:
    """Tell whether PID 1 has a start of this unit among its jobs."""
    rows = (row.split() for row in systemd.ask("list-jobs", "--no-legend", "--plain", "--full").splitlines())
    return any(unit in row and ("start" in row or "restart" in row) for row in rows)


def pending_edits(systemd: Systemd) -> List[str]:
    """Return the units whose files somebody has changed without a daemon-reload: ours would put that in force."""
    shown = show(systemd, ("Id", "NeedDaemonReload"), "*", within_s=EVERY_UNIT_WITHIN_S).split("\n\n")
    blocks = (dict(line.partition("=")[::2] for line in block.splitlines()) for block in shown)
    return sorted(block.get("Id", "?") for block in blocks if block.get("NeedDaemonReload") == "yes")
