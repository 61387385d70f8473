# SPDX-License-Identifier: Apache-2.0
"""What an experiment will hit: its GPUs by UUID and the processes on them, shown before anything is touched."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from chaosgpu.controls.checks import Activity, provider_of
from chaosgpu.errors import ChaosGpuError
from chaosgpu.fleet.ask import ask
from chaosgpu.fleet.values import JsonObject

__all__ = ["Hit", "named_gpus", "processes_line", "what_is_hit"]

_READ_S = 15.0


@dataclass(frozen=True)
class Hit:
    """One GPU that the method names, or another chaosgpu action that names none (`gpu` is None)."""

    host: str
    gpu: str | None
    actions: tuple[str, ...]

    def as_json(self) -> JsonObject:
        """Return it for the ledger."""
        return {"host": self.host, "gpu": self.gpu, "actions": list(self.actions)}


def what_is_hit(actions: Iterable[Activity], host: str) -> list[Hit]:
    """Collect the GPUs that the actions of a method name; their arguments are already substituted."""
    by_gpu: dict[str | None, list[str]] = {}
    for activity in actions:
        gpus: tuple[str | None, ...] = named_gpus(activity)
        ours = str(provider_of(activity).get("module", "")).startswith("chaosgpu.")
        for gpu in gpus or ((None,) if ours else ()):
            by_gpu.setdefault(gpu, []).append(str(activity.get("name")))
    return [Hit(host, gpu, tuple(names)) for gpu, names in by_gpu.items()]


def named_gpus(activity: Activity) -> tuple[str, ...]:
    """Return what an activity says under `gpu` or `gpus`."""
    arguments = provider_of(activity).get("arguments")
    if not isinstance(arguments, Mapping):
        return ()
    one, several = arguments.get("gpu"), arguments.get("gpus")
    found = [one, *(several if isinstance(several, list) else [])]
    return tuple(str(gpu) for gpu in found if isinstance(gpu, (str, int)) and not isinstance(gpu, bool))


def processes_line(gpu: str) -> str:
    """Ask which processes use a GPU; where nobody can say, say that."""
    try:
        answer = ask("localhost", "read", {"reading": "gpu.processes", "params": {"gpu": gpu}}, _READ_S)
    except ChaosGpuError as error:
        return f"its processes are unknown ({error})"
    values = answer.get("values")
    listed = values.get("processes") if isinstance(values, dict) else None
    if not isinstance(listed, list):
        return "its processes are unknown"
    by_name: dict[str, list[JsonObject]] = {}
    for entry in listed:
        if isinstance(entry, dict):
            name = str(entry.get("name") or entry.get("command") or "of no known name")
            by_name.setdefault(name.rsplit("/", 1)[-1], []).append(entry)
    return "processes on it: " + (", ".join(_group(name, group) for name, group in by_name.items()) or "none")


def _group(name: str, entries: list[JsonObject]) -> str:
    """Name processes of one program together: a server with its workers is one thing to a reader."""
    pids = " ".join(str(entry.get("pid")) for entry in entries)
    used = [entry.get("used_mib") for entry in entries]
    known = [mib for mib in used if isinstance(mib, (int, float))]
    memory = f", {sum(known):g} MiB" if len(known) == len(used) else ", memory unknown"
    count = f"{len(entries)} x " if len(entries) > 1 else ""
    return f"{count}{name} (pid {pids}{memory})"
