# SPDX-License-Identifier: Apache-2.0
"""Each decision of an undo alone, without a process: quick, so that each mutant of the kernel meets them."""

from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from chaosgpu.agent.errors import AgentError, DriverDied, DriverHung, Refused, StoreFailed, Unanswered
from chaosgpu.agent.faults.contract import Restored
from chaosgpu.agent.folder import LeaseFolder
from chaosgpu.agent.host import Host
from chaosgpu.agent.lease import apply
from chaosgpu.agent.mend import mend
from chaosgpu.agent.record import State
from chaosgpu.agent.revert import revert
from support.kernel_steps import Bench, HoldingFile

# ---- undo


def test_an_undo_puts_back_reads_back_and_gives_up_in_this_order(bench: Bench) -> None:
    apply(bench.host, bench.order())
    bench.steps.clear()
    held: list[int] = []

    def count() -> None:
        held.append(len(bench.claims()))

    bench.at.update(undone=count, clean=count)
    state = revert(bench.host, bench.lease(), "undo", "because")
    assert bench.steps == ["reverting", "claims held", "holder ended", "undone", "clean"]
    assert (state.state, state.ended_by, state.reason) == ("clean", "undo", "because")
    assert (state.restored, state.left_alone) == ({"text": "well"}, ())
    assert (held, bench.claims(), bench.file.read_text()) == ([1, 1], [], "well")


def test_an_undo_again_changes_nothing_and_asks_no_driver(bench: Bench) -> None:
    apply(bench.host, bench.order())
    first = revert(bench.host, bench.lease(), "undo")
    bench.changes["new_driver"] = mock.Mock(side_effect=AssertionError)
    bench.file.write_text("broken")
    assert revert(bench.host, bench.lease(), "deadline") == first
    assert bench.file.read_text() == "broken"


def revert_it(host: Host, folder: LeaseFolder) -> State:
    return revert(host, folder, "undo")


def test_one_who_comes_after_a_killed_undo_gives_up_the_claims_and_cleans_up(bench: Bench) -> None:
    apply(bench.host, bench.order())
    [claim] = bench.claims()
    text = claim.read_text()
    litter = Path(bench.lease().path, "state.1.new")
    for again in (revert_it, mend):
        revert(bench.host, bench.lease(), "undo")
        claim.write_text(text)
        litter.write_text("{")
        with mock.patch.object(bench.world.keepers, "disarm") as disarm:
            ended = again(bench.host, bench.lease())
        assert (bench.claims(), litter.exists(), disarm.call_count) == ([], False, 1)
        assert ended == bench.state()


def test_a_claim_that_was_cleaned_away_is_taken_again_for_the_undo(bench: Bench) -> None:
    apply(bench.host, bench.order())
    [claim] = bench.claims()
    claim.unlink()
    held: list[list[Path]] = []
    bench.at["undone"] = lambda: held.append(bench.claims())
    assert revert(bench.host, bench.lease(), "undo").state == "clean"
    assert (held, bench.claims()) == ([[claim]], [])


def test_where_another_lease_has_the_claim_by_now_nothing_is_put_back(bench: Bench) -> None:
    apply(bench.host, bench.order())
    bench.claims()[0].unlink()
    apply(bench.host, bench.order("l2", value="worse"))
    state = revert(bench.host, bench.lease(), "undo")
    assert (state.state, bench.file.read_text(), bench.state("l2").state) == ("stuck", "worse", "active")
    assert "held by another lease meanwhile, so nothing was put back" in str(state.reason)


def test_of_a_lease_that_is_still_there_nothing_is_disarmed(bench: Bench) -> None:
    apply(bench.host, bench.order(breaks="undo:fail"))
    with mock.patch.object(bench.world.keepers, "disarm") as disarm:
        assert revert(bench.host, bench.lease(), "undo").state == "stuck"
    assert disarm.call_count == 0


def test_there_is_nothing_to_undo_where_there_is_no_lease(bench: Bench) -> None:
    bench.lease().make()
    with pytest.raises(Refused, match="There is no lease l1") as error:
        revert(bench.host, bench.lease(), "undo")
    assert error.value.lease == "l1"


def test_what_a_person_changed_is_left_alone_and_told(bench: Bench) -> None:
    apply(bench.host, bench.order())
    bench.file.write_text("a person's")
    state = revert(bench.host, bench.lease(), "undo")
    assert (state.state, state.left_alone, bench.file.read_text()) == ("clean", (str(bench.file),), "a person's")


@pytest.mark.parametrize("breaks", ["undo:fail", "undo:mistake", "restored:fail"])
def test_an_undo_that_fails_is_tried_again_and_stuck_at_the_last_try(bench: Bench, breaks: str) -> None:
    cause = bench.folder / "mended"
    apply(bench.host, bench.order(breaks=breaks, until=str(cause)))
    state = revert(bench.host, bench.lease(), "deadline", "its time was over", last_try=False)
    assert (state.state, state.reason, bench.state().state) == ("reverting", "its time was over", "reverting")
    state = revert(bench.host, bench.lease(), "undo", "somebody else")
    assert (state.state, state.ended_by, len(bench.claims())) == ("stuck", "deadline", 1)
    assert "by hand" in str(state.reason)
    assert revert(bench.host, bench.lease(), "undo").state == "stuck"
    cause.write_text("")
    assert revert(bench.host, bench.lease(), "undo").state == "stuck"  # nobody has asked for it
    state = revert(bench.host, bench.lease(), "undo", even_stuck=True)
    assert (state.state, state.ended_by, bench.claims()) == ("clean", "deadline", [])


@pytest.mark.parametrize("breaks", ["undo:full", "undo:slow"])
def test_what_may_pass_is_stuck_too_at_the_last_try(bench: Bench, breaks: str) -> None:
    apply(bench.host, bench.order(breaks=breaks, until=str(bench.folder / "mended")))
    for last_try, ends in ((None, "reverting"), (False, "reverting"), (True, "stuck")):
        assert revert(bench.host, bench.lease(), "deadline", last_try=last_try).state == ends
    states = [line["state"] for line in bench.state().history]
    assert states == ["reserved", "armed", "active", "reverting", "stuck"]  # the intent is written once


def test_a_driver_that_hangs_in_the_kernel_is_not_tried_again(bench: Bench) -> None:
    apply(bench.host, bench.order(breaks="undo:hang"))
    assert revert(bench.host, bench.lease(), "deadline", last_try=False).state == "stuck"


@pytest.mark.parametrize("no_answer", [DriverDied("killed"), DriverHung("late"), Unanswered("killed")])
def test_a_driver_or_a_systemd_that_died_or_was_late_is_asked_once_more(bench: Bench, no_answer: AgentError) -> None:
    apply(bench.host, bench.order())
    with mock.patch.object(HoldingFile, "undo"):
        fault = HoldingFile()
        bench.changes["faults"] = lambda: {fault.name: fault}
        # A verb has one try: it leaves the rest to keeper and sweep, and never says stuck for such a reason.
        for deaths, last_try, ends in ((2, False, "reverting"), (2, None, "reverting"), (1, False, "clean")):
            died: list[Any] = [no_answer] * deaths
            with mock.patch.object(HoldingFile, "restored", side_effect=[*died, Restored(clean=True, values={})]):
                assert revert(bench.host, bench.lease(), "undo", last_try=last_try).state == ends


def test_what_is_not_as_captured_is_stuck_with_what_to_do(bench: Bench) -> None:
    apply(bench.host, bench.order())
    for by_hand, reason in (("Turn it.", "Turn it."), ("", "not what was captured")):
        dirty = Restored(clean=False, values={"text": "?"}, left_alone=("y",), by_hand=by_hand)
        with mock.patch("support.lease_world.LyingFile.restored", return_value=dirty):
            state = revert(bench.host, bench.lease(), "undo", even_stuck=True)
        assert (state.state, state.restored, state.left_alone) == ("stuck", {"text": "?"}, ("y",))
        assert reason in str(state.reason)
        assert bench.claims()


def test_a_disk_that_takes_no_intent_keeps_no_fault(bench: Bench) -> None:
    apply(bench.host, bench.order())
    move = bench.lease().move
    tries: list[str] = []

    def full(self: Any, state: Any, to: str, *arguments: Any, **changes: Any) -> Any:  # noqa: ARG001 (stands for a method)
        tries.append(to)
        if to == "reverting":
            raise StoreFailed("no space")
        return move(state, to, *arguments, **changes)

    with mock.patch("chaosgpu.agent.folder.LeaseFolder.move", full):
        state = revert(bench.host, bench.lease(), "deadline", "its time was over")
    assert (state.state, state.ended_by, bench.file.read_text()) == ("clean", "deadline", "well")
    assert tries == ["reverting", "clean"]


def test_a_lease_that_was_only_reserved_is_clean_without_touching_anything(bench: Bench) -> None:
    def dies() -> None:
        raise KeyboardInterrupt

    bench.at["captured"] = dies
    with pytest.raises(KeyboardInterrupt):
        apply(bench.host, bench.order())
    bench.file.write_text("broken")  # by somebody else
    bench.steps.clear()
    state = revert(bench.host, bench.lease(), "abandoned")
    assert (state.state, state.restored, state.left_alone) == ("clean", {}, ())
    assert bench.steps == ["reverting", "holder ended", "clean"]
    assert (bench.file.read_text(), bench.claims()) == ("broken", [])


@pytest.mark.parametrize("stands", ["active", "reverting", "stuck"])
def test_a_record_that_is_gone_or_anothers_is_damage_in_every_state(bench: Bench, stands: str) -> None:
    apply(bench.host, bench.order(breaks="none" if stands == "active" else "undo:fail"))
    if stands != "active":
        revert(bench.host, bench.lease(), "deadline", last_try=stands == "stuck")
    path = Path(bench.lease().path, "undo")
    path.unlink()
    for why in ("is gone", "another lease, l2"):
        state = revert(bench.host, bench.lease(), "undo", even_stuck=True)
        assert (state.state, bench.file.read_text(), len(bench.claims())) == ("stuck", "broken", 1)
        assert why in str(state.reason)
        assert bench.state().state == "stuck"
        bench.lease().write_undo(replace(bench_undo(bench), lease="l2") if why == "is gone" else bench_undo(bench))


def bench_undo(bench: Bench) -> Any:
    other = Bench(bench.folder / "other") if (bench.folder / "other").is_dir() else None
    if other is None:
        (bench.folder / "other").mkdir()
        other = Bench(bench.folder / "other")
        apply(other.host, other.order())
    return other.lease().undo_record()
