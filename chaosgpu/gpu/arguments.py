# SPDX-License-Identifier: Apache-2.0
"""The values of an action on a GPU, checked before anything is asked of a host, then its order."""

from chaosgpu.errors import BadArgument
from chaosgpu.fleet.arguments import flag, number, one_of, only_one, whole
from chaosgpu.fleet.values import JsonObject, seconds

__all__ = [
    "band",
    "flag",
    "gpu_params",
    "number",
    "one_of",
    "only_one",
    "prior_lock",
    "processes",
    "put_in",
    "restorer",
    "whole",
]


def gpu_params(gpu: object, allow_index: object) -> JsonObject:
    """Check which GPU is meant; an index only where the experiment says that it knows what it does."""
    flag("allow_index", allow_index)
    name = str(gpu) if isinstance(gpu, int) and not isinstance(gpu, bool) else gpu
    if not isinstance(name, str) or not name:
        raise BadArgument(f"gpu must be a GPU's UUID (GPU-…) or PCI bus id (0000:3b:00.0), not {gpu!r}.")
    if name.isdecimal() and not allow_index:
        raise BadArgument(
            f"gpu is the index {name}, and indices change: name the GPU by UUID or PCI bus id (nvidia-smi -L), "
            "or set allow_index to true."
        )
    return {"gpu": name, "allow_index": allow_index is True}


def band(name: str, low: object, high: object) -> JsonObject:
    """Check a range of clocks in MHz."""
    lower = whole(f"{name}min_mhz", low, least=1, most=10_000)
    upper = whole(f"{name}max_mhz", high, least=1, most=10_000)
    if lower > upper:
        raise BadArgument(f"{name}min_mhz {lower} is over {name}max_mhz {upper}.")
    return {"min_mhz": lower, "max_mhz": upper}


def prior_lock(value: object) -> JsonObject:
    """Check the lock that the operator declares to be in force; none gives no parameter."""
    if value is None:
        return {}
    if not isinstance(value, dict) or set(value) != {"min_mhz", "max_mhz"}:
        raise BadArgument(f'prior_lock must be {{"min_mhz": …, "max_mhz": …}}, not {value!r}.')
    return {"prior_lock": band("prior_lock.", value["min_mhz"], value["max_mhz"])}


def processes(pid: object, user: object) -> JsonObject:
    """Check whose processes are meant."""
    only_one(pid=pid, user=user)
    if user is None:
        return {"pid": whole("pid", pid, least=2)}
    if not isinstance(user, str) or not user:
        raise BadArgument(f"user must be the name of a user, not {user!r}.")
    return {"user": user}


def restorer(value: object) -> JsonObject:
    """Check what brings a killed service back."""
    example = '{"unit": "triton.service"} or {"command": ["/usr/bin/…", "…"]}'
    if not isinstance(value, dict) or set(value) not in ({"unit"}, {"command"}):
        raise BadArgument(f"restored_by must be {example}, not {value!r}: a killed process has no other undo.")
    unit, command = value.get("unit"), value.get("command")
    if command is None and isinstance(unit, str) and unit:
        return {"unit": unit}
    if isinstance(command, list) and command and all(isinstance(word, str) and word for word in command):
        if not command[0].startswith("/"):
            raise BadArgument(f"restored_by.command must begin with an absolute path, not {command[0]!r}.")
        return {"command": [*command]}
    raise BadArgument(f"restored_by must be {example}, not {value!r}.")


def put_in(fault: str, params: JsonObject, duration_s: float, hosts: str, timeout_s: float) -> JsonObject:
    """Check the times that every action has, then order the fault."""
    duration_s, timeout_s = seconds("duration_s", duration_s), seconds("timeout_s", timeout_s)
    from chaosgpu.lease.apply import apply_fault  # noqa: PLC0415 (validation imports every named module)

    return apply_fault(fault, params, duration_s=duration_s, hosts=hosts, timeout_s=timeout_s)
