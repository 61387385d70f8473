# SPDX-License-Identifier: Apache-2.0
"""Several bundles of one site, seen together: one log, and every run of it."""

from collections.abc import Mapping

from chaosgpu.evidence.checkpoint import Checkpoint
from chaosgpu.evidence.verify import Verified

__all__ = ["together"]


def together(found: Mapping[str, Verified], kept: Checkpoint | None, *, complete: bool) -> tuple[list[str], list[str]]:
    """Return what does not hold, and what is missing.

    The longest log must go on from each other one and from the checkpoint that the verifier holds; with `complete`,
    each run that it names must be among the bundles.
    """
    every = [one.contents for one in found.values() if one.contents is not None]
    if not every:
        return [], []
    longest = max(every, key=lambda one: one.head.size)
    heads = [one.head for one in every if one is not longest]
    problems = [broken for head in heads if (broken := head.broken_by(longest.log)) is not None]
    if kept is not None and (broken := kept.broken_by(longest.log)) is not None:
        problems.append(broken)
    if not complete:
        return problems, []
    there = {one.run for one in every}
    ended = (one.end for one in longest.log.attempts.values() if one.end is not None)
    return problems, [
        f"Run {end['run']} ({end['verdict']}) is in the log and in none of these bundles."
        for end in ended
        if end["run"] and end["run"] not in there
    ]
