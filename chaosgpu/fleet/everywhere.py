# SPDX-License-Identifier: Apache-2.0
"""One request to several hosts at once; a host that cannot be reached is cut off, and keeps no other waiting."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from chaosgpu.errors import ChaosGpuError
from chaosgpu.fleet.ask import ask
from chaosgpu.fleet.values import JsonObject

__all__ = ["CUT_OFF", "ask_everywhere"]

# What is said of a host that gave no answer: nobody knows what is in force there.
CUT_OFF = "CUT OFF"
_AT_ONCE = 32


def ask_everywhere(
    hosts: Iterable[str], verb: str, request: JsonObject, timeout_s: float
) -> dict[str, JsonObject | ChaosGpuError]:
    """Ask each host and return its answer, or the error that says why there is none."""
    names = sorted(set(hosts))

    def one(host: str) -> JsonObject | ChaosGpuError:
        try:
            return ask(host, verb, request, timeout_s)
        except ChaosGpuError as error:
            return error

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return dict(zip(names, pool.map(one, names), strict=True))
