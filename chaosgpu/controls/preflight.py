# SPDX-License-Identifier: Apache-2.0
"""Ask the hosts before anything is played: is each agent there, ours and not halted, and what is there to be hit."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from chaosgpu.controls.hits import Hit, processes_line, who_uses
from chaosgpu.errors import AgentFailed, ChaosGpuError
from chaosgpu.fleet.ask import Question, ask_all
from chaosgpu.fleet.everywhere import told
from chaosgpu.fleet.values import JsonObject, objects
from chaosgpu.lease.directory import write_json

__all__ = ["Seen", "keep", "show_hits", "why_hosts_refuse"]

logger = logging.getLogger("chaostoolkit")

_ASK_S = 60.0


@dataclass(frozen=True)
class Seen:
    """What the hosts said: the facts of each, and for each GPU that will be hit who uses it."""

    facts: dict[str, JsonObject]
    processes: dict[Hit, JsonObject | ChaosGpuError]


def why_hosts_refuse(hosts: Sequence[str], hits: Sequence[Hit], directory: Path) -> tuple[str | None, Seen]:
    """Return why nothing may be played on these hosts, or None, and what they said, of which the facts are kept.

    All is asked in one round trip, the facts first: for these a host must have our own agent.
    """
    on_gpus = [hit for hit in hits if hit.gpu is not None]
    basics = [Question(host, verb, {}, _ASK_S) for host in hosts for verb in ("facts", "list")]
    answers = ask_all([*basics, *map(who_uses, on_gpus)])
    found, listed = (dict(zip(hosts, answers[at : len(basics) : 2], strict=True)) for at in (0, 1))
    seen = Seen({}, dict(zip(on_gpus, answers[len(basics) :], strict=True)))
    if any(isinstance(one, ChaosGpuError) for one in listed.values()):
        return f"{_who(hosts)} must answer before a fault may be put in. {_why(listed)}", seen
    halted = [
        f"{host} is halted by {by.get('by')}: {by.get('reason')}"
        for host, one in listed.items()
        if not isinstance(one, ChaosGpuError) and isinstance(by := one.get("halted"), dict)
    ]
    if halted:
        return f"{'. '.join(halted)}. When that is settled: chaosgpu resume --reason '…'.", seen
    for host, one in found.items():
        if isinstance(one, ChaosGpuError):
            if isinstance(one, AgentFailed) and any(hit.host == host for hit in on_gpus):
                return f"The GPUs of {host} cannot be read. {one}", seen
            if not isinstance(one, AgentFailed):
                return f"{_who(hosts)} must answer before a fault may be put in. {_why(found)}", seen
        seen.facts[host] = {"unknown": str(one)} if isinstance(one, ChaosGpuError) else one
        keep(directory, host, "before", {"facts": seen.facts[host], "list": listed[host]})
    return None, seen


def keep(directory: Path, host: str, moment: str, found: Mapping[str, object]) -> None:
    """Write what a host said before or after the run into the run directory; an error is written as its sentence."""
    plain = {key: {"unknown": str(one)} if isinstance(one, ChaosGpuError) else one for key, one in found.items()}
    write_json(directory / "hosts" / host / f"{moment}.json", plain)


def show_hits(hits: Sequence[Hit], seen: Seen) -> None:
    """Show host, GPU and the processes on it."""
    if not hits:
        logger.info("WILL HIT nothing: the method has no action of chaosgpu")
    for hit in hits:
        actions = ", ".join(hit.actions)
        if hit.gpu is None:
            logger.info("WILL HIT %s: %s", hit.host, actions)
            continue
        gpu = _gpus(seen.facts.get(hit.host, {})).get(hit.gpu, {})
        name = f"{gpu.get('uuid', hit.gpu)} ({gpu.get('name', 'a GPU that the driver does not list')})"
        logger.info("WILL HIT %s %s: %s; %s", hit.host, name, actions, processes_line(seen.processes[hit]))


def _gpus(facts: JsonObject) -> dict[str, JsonObject]:
    """Return the GPUs of a host by each name that an experiment may give them."""
    listed = objects(facts, "gpus") if "gpus" in facts else []
    return {str(gpu.get(key)): gpu for gpu in listed for key in ("uuid", "pci_bus_id", "index")}


def _who(hosts: Sequence[str]) -> str:
    return "The agent" if len(hosts) == 1 else "The agent of every host"


def _why(found: Mapping[str, JsonObject | ChaosGpuError]) -> str:
    """Return the one host's own sentence, or one for each host."""
    return str(next(iter(found.values()))) if len(found) == 1 else told(found)
