# SPDX-License-Identifier: Apache-2.0
"""Many kills by time on the card, over all of apply and undo: whoever is killed whenever, nothing is left."""

import os
import random
import signal
import time
from collections import Counter
from dataclasses import asdict, replace
from operator import itemgetter

import pytest

from gpu import notes
from gpu.card import Card, until
from gpu.kills import BOUND_S, FAULTS, KILLED, PHASES, SHORTEST_TTL_S, Kill, Outcome, carry_out, measure
from gpu.unleased import held_without_a_lease

# What takes long is done less often: a burn is verified by the driver's own average, an undo needs an apply before it.
KILLS = {
    "apply": {"gpu.memory.fill": 28, "gpu.memory.leak": 28, "gpu.burn": 16},
    "undo": {"gpu.memory.fill": 20, "gpu.memory.leak": 20, "gpu.burn": 12},
}
AT_LEAST = 120
TRIES = 4
BUDGET_S = float(os.environ.get("CHAOSGPU_KILLS_S", "178"))  # a busy machine with simulated GPUs may need more
OURS_MIB = 64  # from here on it is a context or memory of ours, and not what the driver takes to look at the card


def plan() -> list[Kill]:
    """Spread the kills evenly over each length, a third of each kind, in an order that may be cut off anywhere."""
    chance = random.Random(20261127)
    waiting: list[list[Kill]] = []
    for turn, (phase, fault) in enumerate((phase, fault) for phase in PHASES for fault in FAULTS):
        count = KILLS[phase][fault]
        kills = [
            Kill(
                f"many-{phase}-{fault}-{number}",
                phase,
                fault,
                KILLED[(number + turn) % len(KILLED)],
                (number + chance.random()) / count,
            )
            for number in range(count)
        ]
        chance.shuffle(kills)
        waiting.append(kills)
    rounds = max(map(len, waiting))
    taken = [
        (number * rounds / len(kills), turn, kill)
        for turn, kills in enumerate(waiting)
        for number, kill in enumerate(kills)
    ]
    return [kill for _, _, kill in sorted(taken, key=itemgetter(0, 1))]


@pytest.mark.timeout(BUDGET_S + 60)
def test_whoever_is_killed_at_whatever_moment_nothing_is_left_on_the_card(card: Card) -> None:
    before = card.memory().used_mib
    lengths = {fault: measure(card, fault) for fault in FAULTS}
    start = time.monotonic()
    outcomes: list[Outcome] = []
    for kill in plan():
        if time.monotonic() - start > BUDGET_S:
            break
        for again in range(TRIES):  # where the work was done sooner than usual: the same again, earlier
            one = replace(kill, lease=f"{kill.lease}-{again}", share=kill.share * 0.75**again)
            outcomes.append(carry_out(card, one, lengths[kill.fault], before))
            if outcomes[-1].hit:
                break
    wall_s = time.monotonic() - start
    notes.keep(
        "many kills",
        {
            "lengths": {fault: asdict(length) for fault, length in lengths.items()},
            "wall_s": wall_s,
            "rows": [row(one) for one in outcomes],
        },
    )
    for fault, length in lengths.items():
        notes.shown(f"many kills: apply of {fault} takes", length.apply_s, "s")
        notes.shown(f"many kills: undo of {fault} takes", length.undo_s, "s")
    show(outcomes, wall_s)
    hits = [one for one in outcomes if one.hit]
    left = [one for one in outcomes if one.residue]
    notes.equals("many kills: that left memory taken", sum(one.free_s is None for one in outcomes), 0)
    notes.equals("many kills: that left a holder", sum(one.holders > 0 for one in outcomes), 0)
    notes.equals("many kills: that left a claim after one sweep", sum(one.claims > 0 for one in outcomes), 0)
    notes.equals("many kills: that left an open lease after one sweep", sum(one.open for one in outcomes), 0)
    notes.equals("many kills: that left anything at all", len(left), 0)
    free = max(one.free_s or 0.0 for one in outcomes if one.free_s is not None)
    notes.at_most("many kills: memory free after the deadline, at the latest", free, "s", BOUND_S)
    ended = max(one.ended_s or 0.0 for one in outcomes if one.ended_s is not None)
    notes.at_most("many kills: lease ended after the deadline, at the latest", ended, "s", BOUND_S)
    notes.at_least("many kills: in all, while the agent was at work", len(hits), "kills", AT_LEAST)


def show(outcomes: list[Outcome], wall_s: float) -> None:
    """Note how many of each kind there were, and what they met."""
    hits = [one for one in outcomes if one.hit]
    for (phase, fault), count in sorted(Counter((one.kill.phase, one.kill.fault) for one in hits).items()):
        notes.shown(f"many kills: during {phase} of {fault}", count, "kills")
    for killed, count in sorted(Counter(one.kill.killed for one in hits).items()):
        notes.shown(f"many kills: of {killed}", count, "kills")
    taken = [one.taken_mib for one in hits]
    notes.shown("many kills: with memory taken when killed", sum(mib > OURS_MIB for mib in taken), "kills")
    notes.shown("many kills: memory taken when killed, at the most", max(taken), "MiB")
    for state, count in sorted(Counter(one.state for one in hits).items()):
        notes.shown(f"many kills: of a lease that was then {state}", count, "kills")
    notes.shown("many kills: the agent had ended before", len(outcomes) - len(hits), "kills")
    notes.shown("many kills: leases ended before any sweep", sum(one.by_itself for one in outcomes), "leases")
    notes.shown("many kills: one takes, with all that is looked at", wall_s / len(outcomes), "s")


def row(one: Outcome) -> list[object]:
    """Return what is kept of each."""
    kill = one.kill
    times = [None if at is None else round(at, 3) for at in (one.at_s, one.free_s, one.ended_s)]
    found = [one.hit, one.taken_mib, one.state, one.by_itself, one.holders, one.claims, one.open]
    return [kill.phase, kill.fault, kill.killed, round(kill.share, 3), *times, *found]


def test_the_same_kill_leaves_memory_where_the_fault_comes_first_and_no_lease(card: Card) -> None:
    """The control: what is looked at above is found where it is left."""
    before = card.memory().used_mib
    with held_without_a_lease(card, 0.5) as starter:
        os.killpg(starter.pid, signal.SIGKILL)
        gone = until(lambda: card.memory().used_mib <= before, SHORTEST_TTL_S + BOUND_S)
        held = card.memory().used_mib - before
    notes.equals("many kills, control: memory at deadline + 5 s", "stays" if gone is None else "gone", "stays")
    notes.shown("many kills, control: left behind", held, "MiB")
