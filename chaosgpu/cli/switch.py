# SPDX-License-Identifier: Apache-2.0
"""What `chaosgpu halt` and `chaosgpu resume` do alike: name who asks, and ask every known host at once."""

import argparse
from collections.abc import Mapping

from chaosgpu.cli.fleet import hosts_meant
from chaosgpu.errors import BadArgument, ChaosGpuError
from chaosgpu.fleet.ask import operator
from chaosgpu.fleet.everywhere import ask_everywhere
from chaosgpu.fleet.values import JsonObject

__all__ = ["sentence", "turn"]


def turn(verb: str, args: argparse.Namespace) -> dict[str, JsonObject | ChaosGpuError]:
    """Ask every known host to halt or to resume; return the answer of each, or why there is none."""
    reason, by = str(args.reason).strip(), str(args.by or operator()).strip()
    if not reason or not by:
        raise BadArgument(f"{verb} needs a --reason and a name in --by: others will ask who and why.")
    return ask_everywhere(hosts_meant(args), verb, {"by": by, "reason": reason}, args.timeout_s)


def sentence(latched: object) -> str:
    """Say by whom, when and why a host is or was halted."""
    if not isinstance(latched, Mapping):
        return "by nobody"
    return f"by {latched.get('by')} at {latched.get('at')}: {latched.get('reason')}"
