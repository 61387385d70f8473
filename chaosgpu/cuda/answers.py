# SPDX-License-Identifier: Apache-2.0
"""The answers that a verb of `chaosgpu drift` is about: of the hosts that its arguments mean, or kept ones."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from chaosgpu.cuda.facts import Facts, LookAt, read_facts, take_everyones_facts, take_facts
from chaosgpu.errors import BadArgument, ChaosGpuError
from chaosgpu.fleet.targets import LOCAL

if TYPE_CHECKING:
    from chaosgpu.cuda.lock import Lock  # its checks take a tenth of a second to load

__all__ = ["Answers", "answers_of", "look_at", "pairs"]

type Answers = Mapping[str, Facts | ChaosGpuError]


def answers_of(args: argparse.Namespace, hosts: Sequence[str], lock: "Lock | None") -> Answers:
    """Ask the hosts that are meant, or take what was kept of them."""
    if args.facts is not None:
        kept = read_facts(Path(args.facts))
        strange = [host for host in hosts if host not in kept]
        if strange:
            raise BadArgument(f"{args.facts} has no facts of {', '.join(strange)}; it has: {', '.join(kept)}.")
        return {host: kept[host] for host in hosts or kept}
    if args.everyone and not hosts:
        return take_everyones_facts(look_at(args, lock), args.timeout_s)
    locked = [host for group in lock.groups.values() for host in group.hosts] if lock else []
    return take_facts(hosts or locked or [LOCAL], look_at(args, lock), args.timeout_s)


def look_at(args: argparse.Namespace, lock: "Lock | None") -> LookAt:
    """Return what was named on the command line and in the lock file together."""
    environments = dict(pairs("--environment", args.environment))
    if lock is None:
        return LookAt(args.service, environments, args.engines, args.triton)
    also = lock.look_at
    return LookAt(
        [*dict.fromkeys((*also.services, *args.service))],
        {**also.environments, **environments},
        [*dict.fromkeys((*also.engines, *args.engines))],
        args.triton or also.triton,
    )


def pairs(option: str, given: Sequence[str]) -> list[tuple[str, str]]:
    """Read what was given as NAME=VALUE, in the order of the command line."""
    found = []
    for one in given:
        name, sign, value = one.partition("=")
        if not (name and sign and value):
            raise BadArgument(f"{option} must be NAME=VALUE, not {one!r}.")
        found.append((name, value))
    return found
