# SPDX-License-Identifier: Apache-2.0
"""Which processes a fault on a service means, how they are known again after a restart, and who brings them back."""

import os
import pwd
from collections import Counter
from dataclasses import dataclass
from typing import Dict, List, Optional, Set, Tuple

from chaosgpu.agent import values
from chaosgpu.agent.errors import BadRequest, DriverFailed, Forbidden, Refused
from chaosgpu.agent.faults import gpu_memory, proc_table
from chaosgpu.agent.faults.contract import Context
from chaosgpu.agent.faults.on_gpu import OnGpu, parse_gpu
from chaosgpu.agent.faults.proc_table import Process
from chaosgpu.agent.process import Identity, started_under
from chaosgpu.agent.values import JsonMapping, JsonObject

__all__ = [
    "SERVICE_KEYS",
    "Known",
    "OnService",
    "claims",
    "known",
    "missing",
    "parse_service",
    "protect",
    "recorded",
    "targets",
]

SERVICE_KEYS = frozenset({"gpu", "allow_index", "pid", "user"})


@dataclass(frozen=True)
class OnService(OnGpu):
    """The GPU processes that are meant: one of the two is given."""

    pid: Optional[int]
    user: Optional[int]


@dataclass(frozen=True)
class Known:
    """A process as the record keeps it: itself, and what its successor must look like."""

    who: Identity
    user: int
    exe: str
    command_sha256: str
    alike: int  # how many like it ran before the fault, itself among them

    @classmethod
    def from_json(cls, source: JsonMapping) -> "Known":
        """Read it back."""
        return cls(
            Identity(values.whole(source, "pid", 1, 1 << 31), values.whole(source, "start_time", 0, 1 << 62)),
            values.whole(source, "user", 0, 1 << 32),
            values.text(source, "exe"),
            values.text(source, "command_sha256"),
            values.whole(source, "alike", 0, 1 << 31),
        )

    def to_json(self) -> JsonObject:
        """Return it for the record; the command line only as a digest, since it may hold a secret."""
        return {
            "pid": self.who.pid,
            "start_time": self.who.start_time,
            "user": self.user,
            "exe": self.exe,
            "command_sha256": self.command_sha256,
            "alike": self.alike,
        }


def parse_service(raw: JsonMapping) -> OnService:
    """Read which GPU, and whose processes on it."""
    gpu = parse_gpu(raw)
    if (raw.get("pid") is None) == (raw.get("user") is None):
        raise BadRequest("Give either pid or user, one of the two: the process, or whose processes on the GPU.")
    if raw.get("pid") is not None:
        return OnService(gpu, values.whole(raw, "pid", 2, 1 << 22), None)
    name = values.text(raw, "user")
    try:
        return OnService(gpu, None, pwd.getpwnam(name).pw_uid)
    except KeyError as error:
        raise BadRequest(f"There is no user {name!r} on this host.") from error


def targets(params: OnService, uuid: str, context: Context, table: Dict[int, Process]) -> List[Process]:
    """Return the processes on the GPU that are meant; refuse where there are none."""
    listed = gpu_memory.processes(uuid, context)
    mine = proc_table.ours(table)
    if params.pid is not None:
        if params.pid not in listed or params.pid not in table:
            raise Refused(
                f"Process {params.pid} is not on GPU {uuid}; on it are: {', '.join(map(str, listed)) or 'none'}. "
                "Inside a container the driver shows the host's pids: run the agent on the host."
            )
        if params.pid in mine:
            raise Refused(f"Process {params.pid} is our own or one that we run under; it was not touched.")
        return [table[params.pid]]
    found = [table[pid] for pid in listed if pid in table and table[pid].user == params.user and pid not in mine]
    if not found:
        raise Refused(f"User {params.user} has no process on GPU {uuid}; on it are: {listed or 'none'}.")
    return found


def protect(processes: List[Process], context: Context) -> None:
    """Refuse what the host protects, what we may not signal, and under a home of its own whatever is not the lab's."""
    for process in processes:
        if process.unit is not None and process.unit in context.protected_units:
            raise Forbidden(f"Process {process.pid} belongs to {process.unit}, which this host's policy protects.")
        home = context.limited_to_home
        if home is not None and not started_under(process.pid, home):
            raise Forbidden(
                f"Process {process.pid} was not started under CHAOSGPU_AGENT_HOME={home}, and this agent may touch "
                "no other."
            )
        if os.geteuid() not in (0, process.user):
            raise Refused(f"Process {process.pid} belongs to user {process.user}: only root may signal it.")
        if not process.exe:
            raise Refused(f"The program of process {process.pid} cannot be read, so it could not be known again.")


def claims(uuid: str, processes: List[Process], table: Dict[int, Process]) -> Tuple[str, ...]:
    """Name the GPU's processes, each unit (a host may protect it), and the root of each service."""
    units = sorted({process.unit for process in processes if process.unit is not None})
    never = proc_table.ours(table)
    roots = sorted({proc_table.root(process.pid, table, never) for process in processes if process.pid in table})
    return (
        f"gpu:{uuid}:processes",
        *(f"unit:{unit}" for unit in units),
        *(f"process:{pid}:{table[pid].start_time}" for pid in roots),
    )


def known(processes: List[Process], table: Dict[int, Process]) -> List[Known]:
    """Note what each one is, and how many like it run."""
    counts = _alike(table, {(process.user, process.exe) for process in processes})
    keys = [(process.user, process.exe, process.command_sha256) for process in processes]
    return [Known(process.identity, *key, counts[key]) for process, key in zip(processes, keys)]


def recorded(prior: JsonMapping, key: str) -> List[Known]:
    """Read back what the record keeps of the processes."""
    entries = prior.get(key)
    if not isinstance(entries, list):
        raise DriverFailed(f"The lease's record has no {key}, so nobody knows which processes were meant.")
    return [Known.from_json(entry) for entry in entries if isinstance(entry, dict)]


def missing(wanted: List[Known], uuid: str, context: Context) -> List[str]:
    """Return the programs of which fewer run than before; as many of it on the GPU as before will do as well.

    The second way is for services whose workers get another command line at every start.
    """
    table = proc_table.look()
    counts = _alike(table, {(one.user, one.exe) for one in wanted})
    on_gpu = Counter((table[pid].user, table[pid].exe) for pid in gpu_memory.processes(uuid, context) if pid in table)
    meant = Counter((one.user, one.exe) for one in wanted)
    found = set()
    for one in wanted:
        program = (one.user, one.exe)
        if counts[(*program, one.command_sha256)] < one.alike and on_gpu[program] < meant[program]:
            found.add(one.exe)
    return sorted(found)


def _alike(table: Dict[int, Process], programs: Set[Tuple[int, str]]) -> "Counter[Tuple[int, str, str]]":
    users = {user for user, _ in programs}
    running = ((process, process.exe) for process in table.values() if process.user in users)
    return Counter(
        (process.user, exe, process.command_sha256) for process, exe in running if (process.user, exe) in programs
    )
