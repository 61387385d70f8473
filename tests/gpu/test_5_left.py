# SPDX-License-Identifier: Apache-2.0
"""Nothing is left on the card, whoever is killed: the host gives the memory back by its deadline and 5 s."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from chaosgpu.agent.process import Identity
from gpu import notes
from gpu.card import Card, until
from gpu.unleased import held_without_a_lease

BOUND_S = 5.0
TTL_S = 3.0
MOMENTS = 12


def _kill(who: list[Identity]) -> None:
    for one in who:
        os.kill(one.pid, signal.SIGKILL)


def _nothing_of(card: Card, lease: str, used_mib: int) -> bool:
    return card.memory().used_mib <= used_mib and not card.holders(lease)


def test_after_kill_9_of_the_controller_the_host_gives_the_memory_back_by_itself(card: Card) -> None:
    before = card.memory().used_mib
    request = json.dumps({"protocol": 1, **card.order("gpu.memory.fill", "controller", TTL_S, used_percent=90)})
    words = [sys.executable, str(Path(__file__).with_name("caller.py")), request]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as caller:
        assert caller.stdout is not None
        answer = json.loads(caller.stdout.readline())
        os.killpg(caller.pid, signal.SIGKILL)
        caller.wait(10)
    assert answer.get("state") == "active", answer
    start = time.monotonic()
    took = until(lambda: _nothing_of(card, "controller", before), answer["expires_in_s"] + BOUND_S + 2)
    assert took is not None
    notes.at_most("controller killed: clean after the deadline", took - answer["expires_in_s"], "s", BOUND_S)
    ended = until(lambda: card.state("controller") == "clean", BOUND_S)
    assert ended is not None, card.record("controller")
    notes.shown("controller killed: lease ended by", str(card.record("controller")["state"]["ended_by"]))
    notes.equals("controller killed: MiB in use after, less before", card.memory().used_mib - before, 0, "MiB")
    assert time.monotonic() - start < 20


@pytest.mark.parametrize("killed", ["keeper", "holder", "keeper and holder"])
def test_after_kill_9_of_what_the_host_itself_runs_nothing_is_left(card: Card, killed: str) -> None:
    lease = killed.replace(" ", "-")
    before = card.memory().used_mib
    answer = card.apply("gpu.memory.fill", lease, TTL_S, used_percent=90)
    assert answer.get("state") == "active", answer
    start = time.monotonic()
    holders, keepers = card.holders(lease), card.keepers(lease)
    assert keepers, "no keeper was found"
    assert holders, "no holder was found"
    _kill(([*keepers] if "keeper" in killed else []) + ([*holders] if "holder" in killed else []))
    took = until(lambda: _nothing_of(card, lease, before), answer["expires_in_s"] + BOUND_S + 2)
    assert took is not None
    late = took - answer["expires_in_s"]
    notes.at_most(f"{killed} killed: memory free after the deadline", late, "s", BOUND_S)
    alone = until(lambda: card.state(lease) == "clean", max(0.1, TTL_S + BOUND_S - (time.monotonic() - start)))
    seen = card.state(lease)
    told: dict[str, Any] = next(
        (line for line in card.ask("list", run="gpu-test")["leases"] if line["lease"] == lease), {}
    )
    notes.shown(f"{killed} killed: state in the record before anybody looked", seen)
    notes.equals(f"{killed} killed: state told", str(told.get("state")), "clean")
    notes.shown(f"{killed} killed: ended by", str(told.get("ended_by")))
    notes.keep(f"killed {killed}", {"alone": alone, "told": told, "record": card.record(lease)})
    assert card.claims() == []


@pytest.mark.timeout(170)
def test_an_apply_killed_at_any_moment_leaves_nothing_behind(card: Card) -> None:
    """Kills by time, since the moments that matter here are the driver's: seconds of contexts and memory."""
    before = card.memory().used_mib
    start = time.monotonic()
    assert card.apply("gpu.memory.fill", "whole", 10, used_percent=80).get("state") == "active"
    whole_s = time.monotonic() - start
    assert card.undo("whole")["state"] == "clean"
    moments = random.Random(20261127)
    rows, bytes_left, holders_left, in_force = [], 0, 0, 0
    ttl_s = 1.5 if whole_s < 1.2 else whole_s + 0.5
    for number in range(MOMENTS):
        lease = f"moment-{number}"
        at_s = 1.1 * whole_s * (number + moments.random()) / MOMENTS
        start = time.monotonic()
        child = card.start("apply", **card.order("gpu.memory.fill", lease, ttl_s, used_percent=80))
        time.sleep(max(0.0, start + at_s - time.monotonic()))
        child.kill()
        child.communicate(timeout=10)
        time.sleep(0.05)
        taken = card.memory().used_mib - before
        at_kill = card.state(lease)
        in_force += taken > 1024
        took = until(lambda lease=lease: _nothing_of(card, lease, before), ttl_s + BOUND_S + 1)  # type: ignore[misc]
        bytes_left += took is None and card.memory().used_mib > before
        holders_left += len(card.holders(lease))
        until(lambda lease=lease: card.state(lease) in ("clean", "none"), ttl_s + 1 - (time.monotonic() - start))  # type: ignore[misc]
        rows.append([round(at_s, 3), at_kill, taken, took, card.state(lease)])
    by_itself = sum(row[4] in ("clean", "none") for row in rows)
    card.ask("sweep")  # what the timer, or cron, does each minute
    notes.keep("moments", {"whole_s": whole_s, "ttl_s": ttl_s, "rows": rows})
    notes.shown("apply takes", whole_s, "s")
    notes.at_least("apply killed at moments over its length", len(rows), "kills", MOMENTS)
    notes.shown("of these, with memory taken when killed", in_force, "kills")
    notes.equals("killed apply: kills that left memory taken", bytes_left, 0)
    notes.equals("killed apply: holders left", holders_left, 0)
    notes.shown("killed apply: leases ended before any sweep", by_itself, "leases")
    notes.equals("killed apply: claims after one sweep", len(card.claims()), 0)
    notes.equals("killed apply: open leases after one sweep", len(card.open_leases()), 0)


def test_memory_taken_without_a_lease_stays_when_its_starter_is_killed(card: Card) -> None:
    """The control: the same kill on the order that others use, the fault first and no record at all."""
    before = card.memory().used_mib
    with held_without_a_lease(card, 0.9) as starter:
        os.killpg(starter.pid, signal.SIGKILL)
        gone = until(lambda: card.memory().used_mib <= before, TTL_S + BOUND_S)
        held = card.memory().used_mib - before
    notes.equals("control, no lease: memory at deadline + 5 s", "stays" if gone is None else "gone", "stays")
    notes.shown("control, no lease: left behind", held, "MiB")
