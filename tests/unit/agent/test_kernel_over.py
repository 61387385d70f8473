# SPDX-License-Identifier: Apache-2.0
"""When a lease is over, who acts on it, and what is refused: quick, so that each mutant of the kernel meets it."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import pytest

from chaosgpu.agent import halt
from chaosgpu.agent.claims import Owner
from chaosgpu.agent.clock import Boot
from chaosgpu.agent.errors import (
    Forbidden,
    Halted,
    Refused,
    StoreFailed,
)
from chaosgpu.agent.guard import allow, allow_claims
from chaosgpu.agent.home import Home
from chaosgpu.agent.lease import apply
from chaosgpu.agent.mend import mend, mend_ours, why_over
from chaosgpu.agent.policy import Approvals, Policy
from chaosgpu.agent.revert import revert
from chaosgpu.agent.watchdog.watch import BACK_OFF_S, watch
from support.kernel_steps import Bench, Holder

if TYPE_CHECKING:
    from chaosgpu.agent.values import JsonObject

# ---- over or not


def test_why_a_lease_is_over(bench: Bench) -> None:
    state = apply(bench.host, bench.order())
    host, folder, clock = bench.host, bench.lease(), bench.world.clock
    assert why_over(host, folder, state) is None
    ends_s = state.deadline_s
    clock.now_s = ends_s - 0.001
    assert why_over(host, folder, state) is None
    clock.now_s = ends_s
    assert why_over(host, folder, state) == ("deadline", "its time was over")
    assert why_over(host, folder, replace(state, deadline_s=1e9)) is None
    assert why_over(host, folder, replace(state, deadline_s=1e9, end_s=ends_s)) == ("deadline", "its time was over")
    clock.now_s = 5.0
    for boot in (Boot("other", 10), Boot("boot-0", 11)):
        due = why_over(replace(host, boot=boot), folder, state)
        assert due == ("deadline", "the host was started anew since it was made")
    for ended in ("clean", "tombstone", "stuck"):
        assert why_over(replace(host, boot=Boot("other", 10)), folder, replace(state, state=ended)) is None
    broken_off = replace(state, state="reverting", ended_by="halt", reason="pager")
    assert why_over(host, folder, broken_off) == ("halt", "pager")
    nobody = replace(broken_off, ended_by=None, reason=None)
    assert why_over(host, folder, nobody) == ("undo", "its undo was broken off")


def test_a_halted_host_and_a_met_stop_condition_end_a_lease(bench: Bench) -> None:
    state = apply(bench.host, bench.order())
    folder = bench.lease()
    stops = replace(bench.host, stopped=lambda _: "too hot")
    for live in ("armed", "active"):
        with folder.apply_lock():
            assert why_over(stops, folder, replace(state, state=live)) == ("stop", "too hot")
    with folder.apply_lock():
        assert why_over(stops, folder, replace(state, state="reserved")) is None
    halt.latch(bench.host, "me", "pager")
    assert why_over(stops, folder, state) == ("halt", "the host was halted by me: pager")


def test_an_apply_that_died_and_a_holder_that_died_end_a_lease(bench: Bench, holder: Holder) -> None:
    state = apply(bench.host, bench.order())
    host, folder = bench.host, bench.lease()
    for unfinished in ("reserved", "armed"):
        begun = replace(state, state=unfinished)
        folder.save(begun)
        with folder.apply_lock():
            assert why_over(host, folder, begun) is None
        assert why_over(host, folder, begun) == ("abandoned", "the process that applied it died before it was active")
        folder.save(state)
        assert why_over(host, folder, begun) is None  # it had come to its end meanwhile
    Path(folder.path, "state").unlink()
    assert why_over(host, folder, replace(state, state="armed")) is None
    holds = replace(state, holder=holder.identity)
    assert why_over(host, folder, holds) is None
    holder.end()
    due = why_over(host, folder, holds)
    assert due == ("holder_died", f"its holder process {holder.identity.pid} ended before its time")
    with folder.apply_lock():
        assert why_over(host, folder, replace(holds, state="armed")) is None


def test_mending_ends_what_is_over_and_brings_a_keeper_back(bench: Bench) -> None:
    assert mend(bench.host, bench.lease()) is None
    apply(bench.host, bench.order())
    with mock.patch.object(bench.world.keepers, "rearm") as rearm:
        assert mend(bench.host, bench.lease()) == bench.state()
        assert rearm.call_count == 0
        bench.world.keepers.alive.clear()
        assert mend(bench.host, bench.lease()) == bench.state()
        assert rearm.call_args.args[1] == {"PATH": "/bin"}
    with mock.patch.object(bench.world.keepers, "rearm", side_effect=Refused("no more processes")):
        state = mend(bench.host, bench.lease())
    assert state is not None
    assert (state.state, state.ended_by, bench.file.read_text()) == ("clean", "deadline", "well")
    assert "no more processes" in str(state.reason)


def test_one_that_is_not_live_any_more_gets_no_keeper(bench: Bench) -> None:
    apply(bench.host, bench.order(breaks="undo:fail"))
    bench.world.clock.now_s += 100
    state = mend(bench.host, bench.lease(), last_try=False)
    assert state is not None
    assert state.state == "reverting"
    assert mend(bench.host, bench.lease()) == bench.state()
    assert bench.state().state == "stuck"
    bench.world.keepers.alive.clear()
    mend(bench.host, bench.lease())
    assert not bench.world.keepers.alive


def test_one_that_another_process_works_on_is_shown_as_it_stands(bench: Bench) -> None:
    apply(bench.host, bench.order())
    bench.world.clock.now_s += 100
    with bench.lease().lock():
        state = mend(bench.host, bench.lease())
    assert state is not None
    assert (state.state, bench.file.read_text()) == ("active", "broken")


def test_only_a_lease_of_this_home_is_mended_for_its_claim(bench: Bench) -> None:
    apply(bench.host, bench.order())
    bench.world.clock.now_s += 100
    mend_ours(bench.host, Owner("/elsewhere", "l1"))
    assert bench.state().state == "active"
    mend_ours(bench.host, Owner(bench.host.home.path, "l1"))
    assert bench.state().state == "clean"


def test_an_apply_ends_what_is_over_before_it_looks(bench: Bench) -> None:
    apply(bench.host, bench.order())
    bench.world.clock.now_s += 100
    assert apply(bench.host, bench.order("l2")).state == "active"
    assert bench.state().state == "clean"


# ---- watching


def test_the_watcher_waits_for_the_deadline_ends_the_lease_and_goes(bench: Bench) -> None:
    state = apply(bench.host, bench.order())
    asked: list[float] = []

    def next_look_s(left_s: float) -> float:
        asked.append(left_s)
        return left_s if left_s > 1 else 1.0

    watch(bench.host, bench.lease(), next_look_s)
    assert bench.state().state == "clean"
    assert asked[0] == pytest.approx(20, abs=0.1)
    assert len(asked) == 1
    ended_s = float(str(bench.state().history[-1]["boottime_s"]))
    assert state.deadline_s <= ended_s < state.deadline_s + 0.1
    watch(bench.host, bench.lease(), next_look_s)
    watch(bench.host, bench.lease("unknown"), next_look_s)
    assert len(asked) == 1


def test_the_watcher_tries_a_failing_undo_for_half_a_minute_and_gives_up(bench: Bench) -> None:
    state = apply(bench.host, bench.order(breaks="undo:fail"))
    bench.world.clock.now_s = state.deadline_s
    slept: list[float] = []
    with mock.patch.object(bench.world.clock, "sleep", slept.append):
        watch(bench.host, bench.lease(), lambda left_s: left_s)
    assert bench.state().state == "stuck"
    assert slept == list(BACK_OFF_S) == [0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0]
    assert bench.steps.count("reverting") == 8


def test_a_watcher_that_cannot_get_at_it_says_so_and_looks_again(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    state = apply(bench.host, bench.order())
    bench.world.clock.now_s = state.deadline_s
    slept: list[float] = []
    busy = [Refused("somebody is at it")] * 9
    with (
        mock.patch("chaosgpu.agent.watchdog.watch.revert", side_effect=[*busy, revert]) as tried,
        mock.patch.object(bench.world.clock, "sleep", slept.append),
    ):
        tried.side_effect = [*busy, replace(state, state="clean")]

        def look_again(seconds: float) -> None:
            slept.append(seconds)
            if len(slept) == 9:
                revert(bench.host, bench.lease(), "undo")

        with mock.patch.object(bench.world.clock, "sleep", look_again):
            watch(bench.host, bench.lease(), lambda left_s: left_s)
    assert slept == [*BACK_OFF_S, 16.0, 16.0]
    assert "refused: somebody is at it\n" in capsys.readouterr().err


def test_a_store_that_cannot_be_read_is_looked_at_again(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    state = apply(bench.host, bench.order())
    answers = [StoreFailed("input/output error"), replace(state, state="clean")]
    with mock.patch("chaosgpu.agent.folder.LeaseFolder.seen", side_effect=answers):
        watch(bench.host, bench.lease(), lambda left_s: left_s)
    assert "store: input/output error\n" in capsys.readouterr().err


# ---- guard


def test_a_halted_host_takes_no_fault_and_the_policy_has_the_last_word(bench: Bench) -> None:
    order = replace(bench.order(), max_duration_s=600.0)
    assert allow(bench.host, order) == (Policy(("test.*",), 600.0), {})
    assert allow(bench.host, replace(order, change_id="CHG-1"))[1] == {"change_id": "CHG-1"}
    with pytest.raises(Forbidden):
        allow(bench.host, replace(order, fault="gpu.burn"))
    with pytest.raises(Forbidden):
        allow(bench.host, replace(order, max_duration_s=601.0))
    halt.latch(bench.host, "me", "pager")
    with pytest.raises(Halted):
        allow(bench.host, order)


def test_an_approval_that_is_demanded_is_judged_before_anything_is_touched(bench: Bench) -> None:
    demanding = replace(bench.host, read_policy=lambda: Policy(("test.*",), 600.0, approvals=Approvals(b"")))
    with pytest.raises(Forbidden, match="demands an approval, and none came with the fault"):
        apply(demanding, bench.order())
    assert bench.lease().seen() is None


def test_by_what_a_lease_goes_is_in_its_record(bench: Bench) -> None:
    assert apply(bench.host, replace(bench.order(), change_id="CHG-1")).granted == {"change_id": "CHG-1"}


def test_a_lab_touches_simulated_gpus_only(bench: Bench) -> None:
    policy = Policy(("*",), 600.0, protected_gpus=("P",), protected_units=("sshd",))
    real: JsonObject = {"path": "lib"}
    simulated: JsonObject = {"path": "lib", "simulator": "sim1"}
    unknown: JsonObject = {"simulator": ""}
    allow_claims(bench.host, policy, ("file:x",), None)
    allow_claims(bench.host, policy, ("gpu:G",), simulated)
    allow_claims(bench.host, policy, ("file:x",), simulated)
    refused: list[tuple[tuple[str, ...], JsonObject | None, str]] = [
        (("gpu:G",), real, "gpu:G is real"),
        (("gpu:G", "gpu:H"), None, "gpu:G, gpu:H is real"),
        (("file:x",), real, "the GPU is real"),
        (("gpu:G",), unknown, "gpu:G is real"),
    ]
    for claims, library, told in refused:
        with pytest.raises(Forbidden, match=told):
            allow_claims(bench.host, policy, claims, library)
    for claim in ("gpu:P:clocks", "unit:sshd"):
        with pytest.raises(Forbidden, match="protects"):
            allow_claims(bench.host, policy, (claim,), simulated)
    free = replace(bench.host, home=Home(bench.host.home.path, limited=False))
    allow_claims(free, policy, ("gpu:G",), real)
    with pytest.raises(Forbidden, match="protects"):
        allow_claims(free, policy, ("gpu:P",), real)
