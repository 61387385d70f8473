# SPDX-License-Identifier: Apache-2.0
"""What an experiment will hit: its GPUs by UUID and the processes on them, shown before anything is touched."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from chaosgpu.controls.checks import Activity, provider_of
from chaosgpu.errors import ChaosGpuError
from chaosgpu.fleet.ask import ask
from chaosgpu.fleet.values import JsonObject, JsonValue

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
    return "processes on it: " + (", ".join(_process(entry) for entry in listed) or "none")


def _process(entry: JsonValue) -> str:
    """Name one process by what the agent gives of it."""
    if not isinstance(entry, dict):
        return str(entry)
    name = entry.get("name") or entry.get("command") or ""
    used = entry.get("used_mib")
    return " ".join(
        str(part)
        for part in (entry.get("pid"), name, f"{used:g} MiB" if isinstance(used, (int, float)) else "")
        if part
    )
