# SPDX-License-Identifier: Apache-2.0
"""Who is on the GPUs of this host, read from the driver, and whether a drain may leave them there."""

import contextlib
from dataclasses import dataclass
from typing import Dict, List, Optional, Tuple

from chaosgpu.agent import values
from chaosgpu.agent.errors import DriverDied, DriverFailed, DriverHung, Refused
from chaosgpu.agent.faults import proc_table
from chaosgpu.agent.faults.proc_table import Process
from chaosgpu.agent.process import process_tree
from chaosgpu.agent.readings import catalogue
from chaosgpu.agent.readings.catalogue import Tools
from chaosgpu.agent.service.desk import Desk
from chaosgpu.agent.service.record import Taken
from chaosgpu.agent.service.thing import Budget
from chaosgpu.agent.values import JsonMapping, JsonObject

__all__ = ["OnGpu", "refuse_processes", "refuse_unaccounted", "strangers"]

_LEAVES_WITHIN_S = 15.0  # a driver takes a moment to take back what an ended process had
_TRIES = 3
_MODULE_NOT_LOADED, _NO_LIBRARY = 9, 12


@dataclass(frozen=True)
class OnGpu:
    """One process that the driver shows on a GPU; `names` are its program's, as the kernel and the driver say it."""

    gpu: str
    pid: int
    names: Tuple[str, ...]
    unit: Optional[str]
    group: str

    def sentence(self) -> str:
        """Say who it is."""
        where = self.unit or self.group or "no process of this host"
        return f"pid {self.pid} ({self.names[0] if self.names else 'unknown'}, {where}) on {self.gpu}"


def refuse_processes(allowed: Tuple[str, ...], desk: Desk, budget: Budget) -> None:
    """Wait until nobody but those allowed by name is on any GPU; Refused where somebody stays."""
    found: List[OnGpu] = []

    def empty() -> bool:
        found[:] = strangers(allowed, desk)
        return not found

    if not budget.wait(empty, _LEAVES_WITHIN_S):
        raise Refused(_sentence(found, "are"))


def refuse_unaccounted(allowed: Tuple[str, ...], taken: Tuple[Taken, ...], desk: Desk) -> None:
    """Refuse, before anything is touched, for processes that will not go with the units and containers named.

    A hook may end processes in ways that nobody but it knows, so with one this is left to the look afterwards.
    """
    known = {one.kind: one.prior for one in taken}
    if "hook" in known:
        return
    units = {str(one["unit"]) for one in _entries(known, "units")}
    containers = _entries(known, "containers")
    pids = {who.pid for one in containers if isinstance(one["pid"], int) for who in process_tree(one["pid"])}
    ids = tuple(str(one["id"]) for one in containers)
    left = [
        one
        for one in strangers(allowed, desk)
        if not units & set(one.group.split("/")) and one.pid not in pids and not any(each in one.group for each in ids)
    ]
    if left:
        raise Refused(_sentence(left, "would stay"))


def strangers(allowed: Tuple[str, ...], desk: Desk) -> List[OnGpu]:
    """Return the processes on GPUs that are not allowed; Refused where the driver does not tell them."""
    for _ in range(_TRIES - 1):
        with contextlib.suppress(DriverHung, DriverDied):  # a starved host may be too slow for one look
            return _strangers(allowed, desk)
    return _strangers(allowed, desk)


def _strangers(allowed: Tuple[str, ...], desk: Desk) -> List[OnGpu]:
    try:
        listed = desk.driver.call("list_gpus")
    except DriverFailed as error:
        if error.code in (_MODULE_NOT_LOADED, _NO_LIBRARY):
            return []  # without the driver nobody is on a GPU
        raise
    table = proc_table.look()
    found: List[OnGpu] = []
    for gpu in listed if isinstance(listed, list) else []:
        if not isinstance(gpu, dict) or "uuid" not in gpu:
            raise Refused(f"A GPU does not answer ({gpu}), so nobody knows who is on it: mend or name no such host.")
        found += _on(values.text(gpu, "uuid"), table, desk)
    return [one for one in found if not set(one.names) & set(allowed)]


def _on(uuid: str, table: Dict[int, Process], desk: Desk) -> List[OnGpu]:
    answer = catalogue.take("gpu.processes", {"gpu": uuid}, Tools(desk.driver, desk.clock))
    listed = answer.values.get("processes")
    if not isinstance(listed, list):
        raise Refused(f"The driver does not tell the processes on {uuid}: {answer.why('processes')}.")
    return [_known(uuid, entry, table) for entry in listed if isinstance(entry, dict)]


def _known(uuid: str, entry: JsonMapping, table: Dict[int, Process]) -> OnGpu:
    pid = values.whole(entry, "pid", 0, 1 << 31)
    process: Optional[Process] = table.get(pid)
    paths = ("" if process is None else process.exe, str(entry.get("name") or ""))
    names = tuple(dict.fromkeys(path.rpartition("/")[2] for path in paths if path))
    if process is None:
        return OnGpu(uuid, pid, names, None, "")
    return OnGpu(uuid, pid, names, process.unit, process.group_of_control or "no unit")


def _sentence(found: List[OnGpu], verb: str) -> str:
    return (
        f"Processes {verb} on the GPUs of this host: {'; '.join(one.sentence() for one in found[:10])}. Name their "
        "units or containers, or their programs in allow_processes."
    )


def _entries(known: Dict[str, JsonObject], kind: str) -> List[JsonObject]:
    found = known.get(kind, {}).get(kind)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
