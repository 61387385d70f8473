# SPDX-License-Identifier: Apache-2.0
"""gpu.memory.fill on the card: it takes what was asked, others feel it, and all of it comes back."""

import time
from pathlib import Path

import pytest

from gpu import notes
from gpu.card import MIB, Card, until
from gpu.victims import kinds, victim

NEEDS_MIB = 2048


@pytest.mark.parametrize("percent", [50, 90, 99])
def test_a_fill_takes_what_was_asked_and_gives_all_of_it_back(card: Card, percent: int) -> None:
    lease = f"fill-{percent}"
    before = card.memory()
    start = time.monotonic()
    answer = card.apply("gpu.memory.fill", lease, used_percent=percent)
    active_s = time.monotonic() - start
    assert answer.get("state") == "active", answer
    during, by_pid = card.memory(), card.processes()
    notes.keep(f"fill to {percent} %", {"before": before, "during": during, "processes": by_pid, "answer": answer})
    start = time.monotonic()
    line = card.undo(lease)
    undone_s = time.monotonic() - start
    free_s = until(lambda: card.memory().used <= before.used, 10)
    after = card.memory()

    name = f"fill to {percent} %"
    notes.shown(f"{name}: asked", int(before.total * percent / 100) // MIB, "MiB")
    notes.shown(f"{name}: in use, by NVML", during.used_mib, "MiB")
    asked = before.total * percent // 100
    # The agent's own slack: CUDA and NVML may differ by a quarter of a percent in what is free.
    notes.at_most(f"{name}: off the level", abs(during.used - asked) / MIB, "MiB", max(32, before.total / 400 / MIB))
    holder = answer["observed"]["holder_pid"]
    notes.shown(f"{name}: the holder's own, by NVML", (by_pid.get(holder) or 0) // MIB, "MiB")
    notes.shown(f"{name}: from apply to active", active_s, "s")
    notes.shown(f"{name}: from undo to its answer", undone_s, "s")
    notes.at_most(f"{name}: memory free after the undo's answer", -1 if free_s is None else free_s, "s", 5)
    assert line["state"] == "clean", line
    assert free_s is not None
    notes.equals(f"{name}: MiB in use after, less before", after.used_mib - before.used_mib, 0, "MiB")


@pytest.mark.parametrize("kind", kinds())
def test_a_program_runs_out_of_memory_while_the_fill_is_in_force_and_not_before_or_after(
    card: Card, tmp_path: Path, kind: str
) -> None:
    with victim(kind, card.uuid, tmp_path) as one:
        before = one.ask("answer", mib=NEEDS_MIB, seed=1)
        idle = card.memory().used_mib
        answer = card.apply("gpu.memory.fill", f"oom-{kind}", leave_free_mib=NEEDS_MIB // 4)
        assert answer.get("state") == "active", answer
        during = one.ask("answer", mib=NEEDS_MIB, seed=2)
        small = one.ask("answer", mib=16, seed=3)
        assert card.undo(f"oom-{kind}")["state"] == "clean"
        start = time.monotonic()
        after = one.ask("answer", mib=NEEDS_MIB, seed=4)
        answered_s = time.monotonic() - start
        back = card.memory().used_mib
    notes.keep(f"victim {kind}", {"before": before, "during": during, "small": small, "after": after})
    assert before["right"] is True, before
    notes.equals(f"{kind}: CUDA error of 2 GiB while filled", during["code"], 2)
    notes.equals(f"{kind}: an answer that needs 16 MiB while filled", "right" if small["right"] else "wrong", "right")
    notes.equals(f"{kind}: an answer with 2 GiB after the undo", "right" if after["right"] else "wrong", "right")
    notes.shown(f"{kind}: that answer took", answered_s, "s")
    notes.equals(f"{kind}: MiB in use after, less before", back - idle, 0, "MiB")


def test_the_level_is_held_while_a_neighbour_gives_memory_back(card: Card, tmp_path: Path) -> None:
    with victim("cuda", card.uuid, tmp_path) as one:
        assert one.ask("take", mib=8192)["code"] == 0
        assert card.apply("gpu.memory.fill", "hold", used_percent=90).get("state") == "active"
        level = card.memory().used
        assert one.ask("give")["code"] == 0
        took = until(lambda: card.memory().used >= level - 64 * MIB, 10)
        listed = card.ask("list", verify=True)["leases"]
        assert card.undo("hold")["state"] == "clean"
    notes.at_most("a neighbour gave 8 GiB back: at the level again", -1 if took is None else took, "s", 3)
    assert took is not None
    assert [line["verified"] for line in listed if line["lease"] == "hold"] == [True]


def test_more_than_is_free_is_refused_and_changes_nothing(card: Card) -> None:
    before = card.memory().used_mib
    room = card.memory().free // MIB
    answer = card.apply("gpu.memory.fill", "nothing", leave_free_mib=room)
    notes.shown("a fill that would do nothing", f"{answer['error']['kind']}: {answer['error']['message']}")
    assert answer["error"]["kind"] == "no_effect", answer
    assert card.memory().used_mib == before


def test_a_fault_that_the_policy_does_not_permit_is_refused(card: Card) -> None:
    answer = card.apply("gpu.power.cap", "forbidden", watts=300)
    assert answer["error"]["kind"] == "forbidden", answer
