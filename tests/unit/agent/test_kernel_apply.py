# SPDX-License-Identifier: Apache-2.0
"""Each step of an apply alone, without a process: quick, so that each mutant of the kernel meets them."""

from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest

from chaosgpu.agent import halt
from chaosgpu.agent.errors import (
    AgentError,
    DriverFailed,
    Forbidden,
    Halted,
    NoEffect,
    Refused,
    Unverified,
)
from chaosgpu.agent.faults.contract import Context, Held
from chaosgpu.agent.lease import apply
from chaosgpu.agent.policy import Policy
from chaosgpu.agent.revert import revert
from chaosgpu.agent.values import JsonMapping, JsonObject
from support.agent_faults import FileParams, FileSet
from support.kernel_steps import Bench, Holder, HoldingFile, with_holder

STEPS = ["reserved", "claimed", "captured", "undo written", "deadline armed", "armed", "injected", "verified", "active"]


# ---- apply


def test_apply_goes_through_its_steps_in_this_order_and_no_other(bench: Bench) -> None:
    state = apply(bench.host, bench.order())
    assert bench.steps == STEPS
    assert (state.state, bench.file.read_text(), len(bench.claims())) == ("active", "broken", 1)
    assert bench.state() == state
    undo = bench.lease().undo_record()
    assert undo is not None
    assert (undo.lease, undo.fault, undo.prior, undo.holds) == ("l1", "test.file.set", {"text": "well"}, False)
    assert (undo.library, undo.environment, undo.params["value"]) == (None, {"PATH": "/bin"}, "broken")


class KeepsPrior(FileSet):
    """What was captured, as each later step is given it."""

    def __init__(self) -> None:
        self.given: list[JsonMapping] = []

    def inject(self, params: FileParams, prior: JsonMapping, context: Context) -> None:
        self.given.append(prior)
        super().inject(params, prior, context)

    def verify(self, params: FileParams, prior: JsonMapping, held: Held | None, context: Context) -> JsonObject:
        self.given.append(prior)
        return super().verify(params, prior, held, context)


def test_a_fault_is_given_what_was_captured(bench: Bench) -> None:
    fault = KeepsPrior()
    bench.changes["faults"] = lambda: {fault.name: fault}
    apply(bench.host, bench.order())
    assert fault.given == [{"text": "well"}, {"text": "well"}]


def test_a_lease_says_whose_it_is_and_when_it_ends(bench: Bench) -> None:
    now_s = bench.world.clock.boottime_s()
    order = bench.order()
    state = apply(bench.host, order)
    assert (state.fault, state.run, state.operator, state.boot) == ("test.file.set", "r1", "ann", bench.world.boot)
    assert (state.request_sha256, state.claims) == (order.sha256, (f"file:{bench.file}",))
    assert state.deadline_s == pytest.approx(now_s + 20, abs=0.1)
    assert state.end_s == pytest.approx(now_s + 60, abs=0.1)
    assert (state.observed, state.skew_s, state.renewals, state.holder) == ({"text": "broken"}, None, 0, None)


def test_the_skew_against_the_instant_that_was_asked_for_is_kept(bench: Bench) -> None:
    at = bench.world.clock.wall_s() + 1.0
    state = apply(bench.host, bench.order(inject_at=at))
    assert state.skew_s is not None
    assert 0 <= state.skew_s < 0.1
    assert bench.world.clock.wall_s() >= at


@pytest.mark.parametrize(
    ("breaks", "kind", "ended_by", "told"),
    [
        ("capture:fail", DriverFailed, "refused", "says no"),
        ("capture:mistake", AgentError, "refused", "The fault test.file.set broke: ValueError: a mistake in the fault"),
        ("inject:fail", DriverFailed, "unverified", "says no"),
        ("verify:unverified", Unverified, "unverified", "cannot be seen"),
    ],
)
def test_an_apply_that_fails_puts_back_and_tells(
    bench: Bench, breaks: str, kind: type[AgentError], ended_by: str, told: str
) -> None:
    with pytest.raises(kind, match=told) as error:
        apply(bench.host, bench.order(breaks=breaks))
    state = bench.state()
    assert (state.state, state.ended_by, error.value.lease) == ("clean", ended_by, "l1")
    assert (bench.file.read_text(), bench.claims()) == ("well", [])
    assert "Its undo is" not in str(error.value)
    assert told in str(state.reason)


def test_an_apply_whose_undo_fails_too_says_that_it_is_stuck(bench: Bench) -> None:
    bench.at["injected"] = lambda: bench.file.write_bytes(b"\xff no text")
    with pytest.raises(AgentError, match=r"Its undo is stuck: .*by hand") as error:
        apply(bench.host, bench.order())
    assert (bench.state().state, error.value.lease) == ("stuck", "l1")


def test_an_apply_whose_undo_lacks_something_leaves_it_to_the_host_and_says_so(bench: Bench) -> None:
    bench.at["injected"] = bench.file.unlink
    with pytest.raises(AgentError, match=r"Its undo is reverting: .*tried again by the host") as error:
        apply(bench.host, bench.order())
    assert (bench.state().state, error.value.lease) == ("reverting", "l1")


def test_an_apply_that_finds_its_undo_busy_says_so(bench: Bench) -> None:
    busy = mock.patch("chaosgpu.agent.lease.revert", side_effect=Refused("somebody is at it"))
    with busy, pytest.raises(Unverified, match="Its undo is left to the host: somebody is at it") as error:
        apply(bench.host, bench.order(breaks="verify:unverified"))
    assert (bench.state().state, error.value.lease) == ("armed", "l1")


@pytest.mark.parametrize("step", ["claimed", "undo written", "armed", "verified"])
def test_an_undo_that_comes_between_two_steps_wins(bench: Bench, step: str) -> None:
    bench.at[step] = lambda: revert(bench.host, bench.lease(), "undo")
    with pytest.raises(Refused, match="was ended by undo while it was being applied") as error:
        apply(bench.host, bench.order())
    assert (bench.state().state, bench.file.read_text(), bench.claims()) == ("clean", "well", [])
    assert error.value.lease == "l1"
    assert bench.state().ended_by == "undo"


def test_a_record_that_vanishes_while_it_is_applied_stops_the_apply(bench: Bench) -> None:
    bench.at["armed"] = lambda: Path(bench.lease().path, "state").unlink()
    with pytest.raises(Refused, match="ended by somebody"):
        apply(bench.host, bench.order())
    assert bench.file.read_text() == "well"


def test_a_halt_between_two_steps_keeps_the_fault_out(bench: Bench) -> None:
    bench.at["armed"] = lambda: halt.latch(bench.host, "me", "pager")
    with pytest.raises(Halted):
        apply(bench.host, bench.order())
    assert ("injected" in bench.steps, bench.file.read_text()) == (False, "well")
    assert bench.state().ended_by == "refused"


def test_a_lease_whose_time_was_over_before_all_was_ready_is_not_injected(bench: Bench) -> None:
    def late() -> None:
        bench.world.clock.now_s += 20.0

    bench.at["armed"] = late
    with pytest.raises(Refused, match="longer ttl_s"):
        apply(bench.host, bench.order())
    assert ("injected" in bench.steps, bench.state().ended_by) == (False, "refused")


def test_a_deadline_that_cannot_be_armed_keeps_the_fault_out(bench: Bench) -> None:
    def unseen() -> None:
        raise Refused("nobody would end it")

    with mock.patch.object(bench.world.keepers, "arm", return_value=unseen), pytest.raises(Refused, match="nobody"):
        apply(bench.host, bench.order())
    assert ("injected" in bench.steps, bench.file.read_text()) == (False, "well")


def test_the_same_order_again_is_the_same_lease(bench: Bench) -> None:
    first = apply(bench.host, bench.order())
    bench.steps.clear()
    assert apply(bench.host, bench.order()) == first
    assert bench.steps == []


def test_of_two_who_reserve_one_id_the_second_is_refused(bench: Bench) -> None:
    with mock.patch("chaosgpu.agent.lease.repeated", return_value=None):
        apply(bench.host, bench.order())
        other = bench.folder / "y"
        other.write_text("well")
        order = bench.order()
        order = replace(order, params={**order.params, "path": str(other)})
        with pytest.raises(Refused, match="is being applied by another process") as error:
            apply(bench.host, order)
    assert (other.read_text(), error.value.lease) == ("well", "l1")
    assert bench.state().state == "active"


def test_a_check_that_refuses_leaves_no_folder(bench: Bench) -> None:
    bench.file.write_text("broken")
    with pytest.raises(NoEffect):
        apply(bench.host, bench.order())
    assert not Path(bench.lease().path).exists()


def test_the_driver_is_closed_whatever_becomes_of_the_apply(bench: Bench) -> None:
    driver = mock.Mock()
    bench.changes["new_driver"] = lambda *_: driver
    with pytest.raises(Unverified):
        apply(bench.host, bench.order(breaks="verify:unverified"))
    assert driver.close.call_count == 2  # the apply's and its undo's


def test_what_the_policy_protects_is_not_touched(bench: Bench) -> None:
    bench.changes["read_policy"] = lambda: Policy(("test.*",), 600.0, protected_gpus=("G",))
    with mock.patch.object(HoldingFile, "claims", return_value=("gpu:G",)):
        bench.changes["faults"] = lambda: {"test.file.set": HoldingFile()}
        bench.changes["new_driver"] = lambda *_: mock.Mock(call=lambda *_: {"simulator": "sim1"})
        with pytest.raises(Forbidden):
            apply(bench.host, bench.order())
    assert bench.steps == []


def test_the_library_that_answered_is_in_the_record_and_its_simulator_in_the_claim(bench: Bench) -> None:
    with mock.patch("support.agent_faults.FileSet.claims", return_value=("gpu:G:memory",)):
        bench.changes["new_driver"] = lambda *_: mock.Mock(call=lambda *_: {"simulator": "sim1"})
        state = apply(bench.host, bench.order())
    undo = bench.lease().undo_record()
    assert undo is not None
    assert (state.claims, undo.library) == (("gpu:G@sim1:memory",), {"simulator": "sim1"})


# ---- with a holder


def test_a_holder_is_on_record_before_it_is_let_go_and_ended_by_the_undo(bench: Bench, holder: Holder) -> None:
    fault = with_holder(bench)
    with mock.patch("chaosgpu.agent.lease.start_holder", return_value=holder) as start:
        Path(bench.lease().path).mkdir(parents=True)
        Path(bench.lease().path, "holder.json").write_text('{"of": "an earlier try"}')
        bench.at["injected"] = lambda: Path(bench.lease().path, "holder.json").write_text('{"here": true}')
        bench.at["holder recorded"] = lambda: bench.steps.append(f"gate {holder.gate}")
        state = apply(bench.host, bench.order())
    at = STEPS.index("deadline armed")
    assert bench.steps == [
        *STEPS[:at], "holder ready", "holder recorded", "gate []", *STEPS[at:-2], "let go", *STEPS[-2:]
    ]  # fmt: skip
    assert (state.holder, holder.gate) == (holder.identity, ["go"])
    [seen] = fault.seen
    assert seen is not None
    assert (seen.pid, seen.alive, seen.report) == (holder.identity.pid, True, {"here": True})
    undo = bench.lease().undo_record()
    assert undo is not None
    assert undo.holds
    own_unit = start.call_args.kwargs["own_unit"]
    with mock.patch.object(bench.world.keepers, "own_unit") as unit:
        own_unit.func.__self__.own_unit(bench.lease(), ["hold"], {}, lasts_s=own_unit.keywords["lasts_s"])
    assert unit.call_args.kwargs["lasts_s"] == 60
    assert revert(bench.host, bench.lease(), "undo").state == "clean"
    assert holder.ended
    after = fault.seen[-1]
    assert after is not None
    assert not after.alive


def test_a_holder_of_an_apply_that_fails_is_ended(bench: Bench, holder: Holder) -> None:
    with_holder(bench)
    with mock.patch("chaosgpu.agent.lease.start_holder", return_value=holder):
        bench.at["holder ready"] = lambda: revert(bench.host, bench.lease(), "undo")
        with pytest.raises(Refused):
            apply(bench.host, bench.order())
    assert (holder.ended, holder.gate) == (True, ["closed"])
    assert bench.file.read_text() == "well"


def test_an_undo_ends_the_holder_before_it_restores(bench: Bench, holder: Holder) -> None:
    with_holder(bench)
    with mock.patch("chaosgpu.agent.lease.start_holder", return_value=holder):
        Path(bench.lease().path).mkdir(parents=True)
        bench.at["injected"] = lambda: Path(bench.lease().path, "holder.json").write_text('{"here": true}')
        apply(bench.host, bench.order())
    bench.steps.clear()
    seen: list[bool] = []
    bench.at["holder ended"] = lambda: seen.append(holder.ended)
    bench.at["claims held"] = lambda: seen.append(holder.ended)
    revert(bench.host, bench.lease(), "undo")
    assert seen == [False, True]


def test_a_holder_that_does_not_end_is_stuck_though_all_is_back(bench: Bench) -> None:
    apply(bench.host, bench.order())
    with mock.patch("chaosgpu.agent.revert.end_holder", return_value=False):
        state = revert(bench.host, bench.lease(), "undo")
    assert (state.state, bench.file.read_text(), len(bench.claims())) == ("stuck", "well", 1)
    assert "does not end" in str(state.reason)
    assert state.restored == {"text": "well"}
