# SPDX-License-Identifier: Apache-2.0
"""Ask the hosts before anything is played: is each agent there, ours and not halted, and what is there to be hit."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from chaosgpu.controls.hits import Hit, processes_lines
from chaosgpu.errors import AgentFailed, ChaosGpuError
from chaosgpu.fleet.everywhere import ask_everywhere, told
from chaosgpu.fleet.values import JsonObject, objects
from chaosgpu.lease.directory import write_json

__all__ = ["keep", "show_hits", "why_hosts_refuse"]

logger = logging.getLogger("chaostoolkit")

_ASK_S = 60.0

type Facts = dict[str, JsonObject]


def why_hosts_refuse(hosts: Sequence[str], hits: Iterable[Hit], directory: Path) -> tuple[str | None, Facts]:
    """Return why nothing may be played on these hosts, or None, and the facts of each, which are kept as files."""
    listed = ask_everywhere(hosts, "list", {}, _ASK_S)
    if any(isinstance(one, ChaosGpuError) for one in listed.values()):
        return f"{_who(hosts)} must answer before a fault may be put in. {_why(listed)}", {}
    halted = [
        f"{host} is halted by {by.get('by')}: {by.get('reason')}"
        for host, one in listed.items()
        if not isinstance(one, ChaosGpuError) and isinstance(by := one.get("halted"), dict)
    ]
    if halted:
        return f"{'. '.join(halted)}. When that is settled: chaosgpu resume --reason '…'.", {}
    found = ask_everywhere(hosts, "facts", {}, _ASK_S)
    on_gpus = {hit.host for hit in hits if hit.gpu is not None}
    facts: Facts = {}
    for host, one in found.items():
        if isinstance(one, ChaosGpuError):
            if host in on_gpus and isinstance(one, AgentFailed):
                return f"The GPUs of {host} cannot be read. {one}", {}
            if not isinstance(one, AgentFailed):
                return f"{_who(hosts)} must answer before a fault may be put in. {_why(found)}", {}
            facts[host] = {"unknown": str(one)}
        else:
            facts[host] = one
        keep(directory, host, "before", {"facts": facts[host], "list": listed[host]})
    return None, facts


def keep(directory: Path, host: str, moment: str, found: Mapping[str, object]) -> None:
    """Write what a host said before or after the run into the run directory; an error is written as its sentence."""
    plain = {key: {"unknown": str(one)} if isinstance(one, ChaosGpuError) else one for key, one in found.items()}
    write_json(directory / "hosts" / host / f"{moment}.json", plain)


def show_hits(hits: Sequence[Hit], facts: Facts) -> None:
    """Show host, GPU and the processes on it."""
    if not hits:
        logger.info("WILL HIT nothing: the method has no action of chaosgpu")
    on_gpus = [hit for hit in hits if hit.gpu is not None]
    processes = dict(zip(map(id, on_gpus), processes_lines(on_gpus), strict=True))
    for hit in hits:
        actions = ", ".join(hit.actions)
        if hit.gpu is None:
            logger.info("WILL HIT %s: %s", hit.host, actions)
            continue
        gpu = _gpus(facts.get(hit.host, {})).get(hit.gpu, {})
        name = f"{gpu.get('uuid', hit.gpu)} ({gpu.get('name', 'a GPU that the driver does not list')})"
        logger.info("WILL HIT %s %s: %s; %s", hit.host, name, actions, processes[id(hit)])


def _gpus(facts: JsonObject) -> dict[str, JsonObject]:
    """Return the GPUs of a host by each name that an experiment may give them."""
    listed = objects(facts, "gpus") if "gpus" in facts else []
    return {str(gpu.get(key)): gpu for gpu in listed for key in ("uuid", "pci_bus_id", "index")}


def _who(hosts: Sequence[str]) -> str:
    return "The agent" if len(hosts) == 1 else "The agent of every host"


def _why(found: Mapping[str, JsonObject | ChaosGpuError]) -> str:
    """Return the one host's own sentence, or one for each host."""
    return str(next(iter(found.values()))) if len(found) == 1 else told(found)
