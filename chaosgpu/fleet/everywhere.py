# SPDX-License-Identifier: Apache-2.0
"""One request to several hosts at once; a host that cannot be reached is cut off, and keeps no other waiting."""

from collections.abc import Iterable, Mapping

from chaosgpu.errors import BadArgument, ChaosGpuError, Refused, Unreachable
from chaosgpu.fleet.ask import ask_many
from chaosgpu.fleet.values import JsonObject

__all__ = ["CUT_OFF", "ask_everywhere", "how", "told"]

# What is said of a host that gave no answer: nobody knows what is in force there.
CUT_OFF = "CUT OFF"


def ask_everywhere(
    hosts: Iterable[str], verb: str, request: JsonObject, timeout_s: float
) -> dict[str, JsonObject | ChaosGpuError]:
    """Ask each host and return its answer, or the error that says why there is none."""
    names = sorted(set(hosts))
    return ask_many(verb, dict.fromkeys(names, request), timeout_s) if names else {}


def how(found: object) -> str:
    """Say in one word how it went on a host: ok, refused, unreachable or failed."""
    if isinstance(found, (Refused, BadArgument)):
        return "refused"
    if isinstance(found, Unreachable):
        return "unreachable"
    return "failed" if isinstance(found, Exception) else "ok"


def told(found: Mapping[str, object]) -> str:
    """Say how it went on each host: those that are well by name, the others with their reason."""
    well = [host for host, one in found.items() if how(one) == "ok"]
    rest = [f"{how(one)} on {host}: {one}" for host, one in found.items() if host not in well]
    return "; ".join([*([f"ok on {', '.join(well)}"] if well else []), *rest])
