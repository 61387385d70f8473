# SPDX-License-Identifier: Apache-2.0
"""Apply and undo against an agent in memory: the order of writes, lost replies, answers that cannot be believed."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chaosgpu.errors import (
    AgentFailed,
    BadArgument,
    ChaosGpuError,
    FaultUnverified,
    LedgerBroken,
    NoGuard,
    NotRestored,
    Refused,
    Unreachable,
)
from chaosgpu.fleet.ask import use_transport
from chaosgpu.fleet.transports import Reply
from chaosgpu.fleet.transports.memory import MemoryTransport
from chaosgpu.fleet.values import JsonObject
from chaosgpu.lease.actions import undo, undo_all
from chaosgpu.lease.apply import MARGIN_S, apply_fault
from chaosgpu.lease.chain import verify_chain
from chaosgpu.lease.ids import Names
from chaosgpu.lease.ledger import Ledger, read_lines
from chaosgpu.lease.probes import leases_are_clean, open_leases
from chaosgpu.lease.run import Run, activate, current_run, deactivate
from chaosgpu.lease.verify import look, still_in_force

type Apply = Callable[[JsonObject], JsonObject]


class Host:
    """An agent in memory. `on_apply` may answer otherwise, `breaks` names verbs that answer with garbage."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.leases: dict[str, JsonObject] = {}
        self.on_apply: Apply | None = None
        self.breaks: set[str] = set()
        self.stuck = False
        self.verified: bool | None = True
        self.types_at_apply: list[str] = []
        self.while_listing: Callable[[], object] = lambda: None
        self.asked: list[str] = []

    def command_of(self, host: str) -> tuple[str, ...] | None:
        return MemoryTransport(self.answer).command_of(host)

    def carry(self, host: str, verb: str, document: bytes, timeout_s: float) -> Reply:
        reply = MemoryTransport(self.answer).carry(host, verb, document, timeout_s)
        return Reply(0, b"garbage", b"") if verb in self.breaks else reply

    def answer(self, verb: str, request: JsonObject) -> JsonObject:
        self.asked.append(verb)
        if verb == "apply":
            return self._apply(request)
        if verb == "undo":
            return {"leases": [self._undo(name) for name in self._named(request)]}
        if verb == "list":
            self.while_listing()
            return {"leases": [{**lease, "verified": self.verified} for lease in self.leases.values()]}
        return {"history": []}

    def _named(self, request: JsonObject) -> list[str]:
        if "lease" in request:
            return [str(request["lease"])]
        return [name for name, lease in self.leases.items() if lease["run"] == request["run"]]

    def _apply(self, request: JsonObject) -> JsonObject:
        self.types_at_apply = [str(entry["type"]) for entry in self.run.ledger.entries()]
        answer: JsonObject = {"lease": request["lease"], "run": request["run"], "fault": request["fault"]}
        answer |= {"state": "active", "observed": {"used_mib": 9}, "expires_in_s": request["ttl_s"]}
        if self.on_apply is not None:
            answer = self.on_apply(answer)
        if "error" not in answer:
            self.leases[str(request["lease"])] = answer
        return answer

    def _undo(self, name: str) -> JsonObject:
        lease = self.leases.get(name)
        if lease is None:
            return {"lease": name, "state": "tombstone", "ended_by": "undo"}
        lease["state"] = "stuck" if self.stuck else "clean"
        return {**lease, "restored": {"used_mib": 0}, "reason": "by hand" if self.stuck else None, "ended_by": "undo"}


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    tokens = iter(range(1000))
    names = Names(token=lambda size: f"{next(tokens):0{2 * size}x}")
    run = Run("run-1", tmp_path, Ledger(tmp_path / "ledger.jsonl", "run-1", names.now), names)
    found = Host(run)
    activate(run)
    with use_transport(found):
        yield found
    deactivate()


def _fill(**changes: object) -> JsonObject:
    arguments: dict[str, object] = {"duration_s": 20, "hosts": "localhost", "timeout_s": 5} | changes
    return apply_fault("gpu.memory.fill", {"gpu": "GPU-1"}, **arguments)  # type: ignore[arg-type]  # as an experiment would


def _types(run: Run) -> list[str]:
    lines, _ = read_lines(run.ledger.path)
    assert verify_chain(lines) == []
    return [str(entry["type"]) for entry in run.ledger.entries()]


def test_a_fault_is_written_down_before_the_host_is_asked_and_again_when_it_is_in_force(host: Host) -> None:
    answer = _fill()

    assert host.types_at_apply == ["lease.reserved"]
    assert _types(host.run) == ["lease.reserved", "lease.active"]
    assert answer == {
        "host": "localhost",
        "lease": "lease-0000000000000000",
        "fault": "gpu.memory.fill",
        "observed": {"used_mib": 9},
        "expires_in_s": 20 + MARGIN_S,
    }


def test_without_the_guard_nothing_is_sent(host: Host) -> None:
    deactivate()
    with pytest.raises(NoGuard, match=r"chaosgpu\.controls\.guard"):
        _fill()
    with pytest.raises(NoGuard):
        undo_all()
    assert host.asked == []


def test_a_ledger_that_cannot_be_written_means_no_fault(host: Host) -> None:
    host.run.ledger.path = host.run.directory / "gone/ledger.jsonl"
    with pytest.raises(LedgerBroken):
        _fill()
    assert host.asked == []


def test_a_fault_that_cannot_be_recorded_as_active_is_undone(host: Host) -> None:
    def lose_the_disk(answer: JsonObject) -> JsonObject:
        host.run.ledger.path = host.run.directory / "gone/ledger.jsonl"
        return answer

    host.on_apply = lose_the_disk
    with pytest.raises(LedgerBroken, match="nothing of it is in force"):
        _fill()
    assert [lease["state"] for lease in host.leases.values()] == ["clean"]
    assert host.run.gaps


@pytest.mark.parametrize(
    "changes", [{"duration_s": 0}, {"duration_s": -1}, {"hosts": ""}, {"timeout_s": 0}, {"duration_s": "1"}]
)
def test_wrong_values_are_refused_before_anything_is_written_or_sent(host: Host, changes: dict[str, object]) -> None:
    with pytest.raises(BadArgument):
        _fill(**changes)
    assert host.asked == []
    assert not host.run.ledger.path.exists()


def test_a_lost_reply_is_no_lost_lease(host: Host) -> None:
    host.breaks = {"apply"}
    with pytest.raises(Unreachable, match="nothing of it is in force"):
        _fill()
    assert [lease["state"] for lease in host.leases.values()] == ["clean"]
    assert _types(host.run) == ["lease.reserved", "lease.reverting", "lease.clean"]


def test_a_lost_reply_from_a_host_that_stays_away_is_an_open_lease(host: Host) -> None:
    host.breaks = {"apply", "undo"}
    with pytest.raises(Unreachable, match="It is not known whether"):
        _fill()
    assert [lease.state for lease in host.run.book.open()] == ["unknown"]
    with pytest.raises(Unreachable):
        undo_all()

    host.breaks = set()
    assert [lease["state"] for lease in undo_all()["leases"]] == ["clean"]
    assert host.run.book.open() == []


@pytest.mark.parametrize(
    ("kind", "error", "types"),
    [
        ("claimed", Refused, ["lease.reserved", "lease.refused"]),
        ("bad_request", BadArgument, ["lease.reserved", "lease.refused"]),
        ("unverified", FaultUnverified, ["lease.reserved", "fault.unverified", "lease.reverting", "lease.clean"]),
        ("driver_hung", AgentFailed, ["lease.reserved", "lease.reverting", "lease.clean"]),
    ],
)
def test_an_error_of_the_agent_is_written_down_and_leaves_nothing_open(
    host: Host, kind: str, error: type[ChaosGpuError], types: list[str]
) -> None:
    host.on_apply = lambda _answer: {"error": {"kind": kind, "message": "no."}}
    with pytest.raises(error):
        _fill()
    assert _types(host.run) == types
    assert host.run.book.open() == []


@pytest.mark.parametrize("lie", [{"observed": {}}, {"state": "reserved"}, {"state": "clean"}])
def test_an_answer_that_shows_no_fault_in_force_is_not_believed(host: Host, lie: JsonObject) -> None:
    host.on_apply = lambda answer: answer | lie
    with pytest.raises(FaultUnverified, match="a fault that nobody has seen is none"):
        _fill()
    assert "lease.active" not in _types(host.run)
    assert [lease["state"] for lease in host.leases.values()] == ["clean"]


def test_undo_all_says_what_it_restored_and_again_the_same_without_writing_it_twice(host: Host) -> None:
    _fill()
    first, second = undo_all(), undo_all()

    assert first == second
    assert first["leases"][0]["restored"] == {"used_mib": 0}
    assert _types(host.run).count("lease.clean") == 1


def test_undo_all_with_nothing_to_undo_is_no_failure(host: Host) -> None:
    assert undo_all() == {"host": "localhost", "leases": []}
    assert host.asked == ["undo"]


def test_once_undo_all_was_called_no_fault_is_put_in(host: Host) -> None:
    undo_all()
    with pytest.raises(Refused, match="stopped or rolled back"):
        _fill()
    assert host.asked == ["undo"]


def test_a_stuck_lease_is_not_restored_and_says_what_to_do(host: Host) -> None:
    _fill()
    host.stuck = True
    with pytest.raises(NotRestored, match="by hand"):
        undo_all()
    assert _types(host.run)[-1] == "lease.stuck"


def test_a_lease_that_was_in_force_and_is_unknown_to_the_host_is_not_clean(host: Host) -> None:
    _fill()
    host.leases.clear()
    with pytest.raises(NotRestored, match="nobody knows what it left behind"):
        undo_all()


def test_one_lease_can_be_undone_before_the_end_and_is_not_missed_later(host: Host) -> None:
    name = str(_fill()["lease"])
    assert undo(name)["state"] == "clean"
    assert still_in_force(host.run, 5) == []
    with pytest.raises(BadArgument, match="is no lease of this run"):
        undo("lease-of-somebody-else")


@pytest.mark.parametrize("verified", [False, None])
def test_a_lease_that_cannot_be_seen_again_is_not_in_force_and_unknown_is_not_seen(
    host: Host, verified: bool | None
) -> None:
    _fill()
    assert still_in_force(host.run, 5) == []
    host.verified = verified
    assert [lease.fault for lease in still_in_force(host.run, 5)] == ["gpu.memory.fill"]
    assert still_in_force(host.run, 5) == []  # said once


def test_a_lease_that_comes_into_force_while_a_host_answers_is_not_judged_by_that_answer(host: Host) -> None:
    name = str(_fill()["lease"])
    host.leases[name]["state"] = "armed"
    host.run.book.change(name, state="reserved")
    host.while_listing = lambda: host.run.book.change(name, state="active")
    assert look(host.run, ["localhost"], 5).missing == ()
    [missing] = look(host.run, ["localhost"], 5).missing  # it was in force before this answer was asked for
    assert missing.ended_early == "it is armed"


def test_a_host_that_does_not_answer_verifies_nothing(host: Host) -> None:
    _fill()
    host.breaks = {"list"}
    assert "could not be verified again" in str(still_in_force(host.run, 5)[0].ended_early)


def test_the_lease_probes_say_what_the_host_says(host: Host) -> None:
    assert leases_are_clean()
    _fill()
    assert not leases_are_clean()
    assert [lease["fault"] for lease in open_leases()] == ["gpu.memory.fill"]
    host.breaks = {"list"}
    with pytest.raises(Unreachable):
        leases_are_clean()


def test_the_run_is_there_only_while_it_is_active(host: Host) -> None:
    assert current_run() is host.run
    deactivate()
    with pytest.raises(NoGuard):
        current_run()
