# SPDX-License-Identifier: Apache-2.0
"""gpu.process.stop: the program stands still with its memory, and works on as if nothing had been."""

import time
from pathlib import Path

import pytest

from gpu import notes
from gpu.card import Card, until
from gpu.victims import kinds, victim


@pytest.mark.parametrize("kind", kinds())
def test_a_stopped_program_stands_still_and_works_on_afterwards(card: Card, tmp_path: Path, kind: str) -> None:
    with victim(kind, card.uuid, tmp_path) as one:
        assert one.ask("take", mib=1024)["code"] == 0
        assert one.ask("work")["code"] == 0
        assert until(lambda: one.count() > 10, 10) is not None
        held = card.memory().used_mib
        answer = card.apply("gpu.process.stop", f"stop-{kind}", pid=one.pid)
        assert answer.get("state") == "active", answer
        first = one.count()
        time.sleep(1.5)
        second, still_held = one.count(), card.memory().used_mib
        line = card.undo(f"stop-{kind}")
        start = time.monotonic()
        went_on = until(lambda: one.count() > second, 10)
        assert one.ask("rest")["code"] == 0
        right = one.ask("answer", mib=64, seed=9)["right"]
        notes.keep(f"stop {kind}", {"answer": answer, "undone": line, "after_s": time.monotonic() - start})
    assert line["state"] == "clean", line
    notes.equals(f"{kind}: pieces of work done in 1.5 s while stopped", second - first, 0)
    # The work in hand takes a few MiB and gives them back, so it may be stopped with them.
    notes.at_most(f"{kind}: memory in use while stopped, off that before", abs(held - still_held), "MiB", 8)
    notes.at_most(f"{kind}: works on after the undo", -1 if went_on is None else went_on, "s", 2)
    assert went_on is not None
    notes.equals(f"{kind}: its next answer", "right" if right else "wrong", "right")


def test_a_process_that_is_not_on_the_card_is_not_stopped(card: Card) -> None:
    answer = card.apply("gpu.process.stop", "stranger", pid=1 if card.simulated else 2)
    assert "error" in answer, answer
    assert answer["error"]["kind"] in ("refused", "bad_request"), answer
