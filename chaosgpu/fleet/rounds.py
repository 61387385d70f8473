# SPDX-License-Identifier: Apache-2.0
"""Several requests for each of several hosts: the first of each host at once, then the second of each, and so on."""

from collections.abc import Sequence

from chaosgpu.errors import ChaosGpuError
from chaosgpu.fleet.ask import ask_many
from chaosgpu.fleet.values import JsonObject

__all__ = ["ask_in_rounds"]


def ask_in_rounds(
    verb: str, requests: Sequence[tuple[str, JsonObject]], timeout_s: float
) -> list[JsonObject | ChaosGpuError]:
    """Ask each pair of host and request, and return the answers or errors in the same order."""
    found: dict[int, JsonObject | ChaosGpuError] = {}
    ahead = list(enumerate(requests))
    while ahead:
        this_round: dict[str, int] = {}
        for number, (host, _) in ahead:
            this_round.setdefault(host, number)
        answers = ask_many(verb, {host: requests[number][1] for host, number in this_round.items()}, timeout_s)
        found |= {number: answers[host] for host, number in this_round.items()}
        ahead = [pair for pair in ahead if pair[0] not in found]
    return [found[number] for number in range(len(requests))]
