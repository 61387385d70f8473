# SPDX-License-Identifier: Apache-2.0
"""What an experiment will hit: its GPUs by UUID and the processes on them, shown before anything is touched."""

import importlib
import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from chaosgpu.controls.checks import Activity, provider_of
from chaosgpu.errors import ChaosGpuError
from chaosgpu.fleet.ask import Question
from chaosgpu.fleet.targets import LOCAL, check_pattern
from chaosgpu.fleet.values import JsonObject

__all__ = ["Hit", "named_gpus", "named_hosts", "processes_line", "what_is_hit", "who_uses"]

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


def what_is_hit(actions: Iterable[Activity], chosen: Mapping[str, Sequence[str]]) -> list[Hit]:
    """Collect the GPUs that the actions of a method name, on each host; their arguments are already substituted."""
    by_gpu: dict[tuple[str, str | None], list[str]] = {}
    for activity in actions:
        gpus: tuple[str | None, ...] = named_gpus(activity)
        ours = _is_ours(activity)
        pattern = named_hosts(activity) or LOCAL
        for host in chosen.get(pattern, (LOCAL,)):
            for gpu in gpus or ((None,) if ours else ()):
                by_gpu.setdefault((host, gpu), []).append(_name_of(activity))
    return [Hit(host, gpu, tuple(names)) for (host, gpu), names in by_gpu.items()]


def named_hosts(activity: Activity) -> str | None:
    """Return the pattern of hosts that an action of ours is for; None where it is for none.

    Raises BadArgument for one that cannot be meant.
    """
    if not _is_ours(activity):
        return None
    provider = provider_of(activity)
    arguments = provider.get("arguments")
    if isinstance(arguments, Mapping) and "hosts" in arguments:
        return check_pattern(arguments["hosts"])
    try:
        function = getattr(importlib.import_module(str(provider.get("module"))), str(provider.get("func")))
        takes = inspect.signature(function).parameters.get("hosts")
    except (ImportError, AttributeError, TypeError):
        return None
    return LOCAL if takes is not None and takes.default == LOCAL else None


def _name_of(activity: Activity) -> str:
    """Return its name; with the folder that it names, since all who write to that file system are hit."""
    arguments = provider_of(activity).get("arguments")
    folder = arguments.get("folder") if _is_ours(activity) and isinstance(arguments, Mapping) else None
    name = str(activity.get("name"))
    return name if folder is None else f"{name} (all that write to the file system under {folder})"


def _is_ours(activity: Activity) -> bool:
    return str(provider_of(activity).get("module", "")).startswith("chaosgpu.")


def named_gpus(activity: Activity) -> tuple[str, ...]:
    """Return what an activity says under `gpu` or `gpus`."""
    arguments = provider_of(activity).get("arguments")
    if not isinstance(arguments, Mapping):
        return ()
    one, several = arguments.get("gpu"), arguments.get("gpus")
    found = [one, *(several if isinstance(several, list) else [])]
    return tuple(str(gpu) for gpu in found if isinstance(gpu, (str, int)) and not isinstance(gpu, bool))


def who_uses(hit: Hit) -> Question:
    """Return the question which processes use a GPU."""
    return Question(hit.host, "read", {"reading": "gpu.processes", "params": {"gpu": hit.gpu}}, _READ_S)


def processes_line(answer: JsonObject | ChaosGpuError) -> str:
    """Say which processes use a GPU; where nobody can say, say that."""
    if isinstance(answer, ChaosGpuError):
        return f"its processes are unknown ({answer})"
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
