# SPDX-License-Identifier: Apache-2.0
"""One fault on several hosts: in force on all of them or on none, at one instant, and undone by the recorded names."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from chaosgpu.errors import BadArgument, ChaosGpuError, NotReached, NotRestored, Refused, Unreachable
from chaosgpu.fleet import targets
from chaosgpu.fleet.ask import use_transport
from chaosgpu.fleet.inventory import Inventory
from chaosgpu.fleet.transports import Clock, Reply
from chaosgpu.fleet.values import JsonObject
from chaosgpu.lease.apply import apply_fault
from chaosgpu.lease.ids import Names
from chaosgpu.lease.ledger import Ledger
from chaosgpu.lease.rollback import undo_everything
from chaosgpu.lease.run import Run, activate, deactivate
from chaosgpu.lease.undo import undo_run

HOSTS = ("a", "b", "c")
_ALL_CLEAN = {"a": ["clean"], "b": ["clean"], "c": ["clean"]}


class Rack:
    """Three hosts in memory; each may refuse, be cut off, lose its reply, or have a clock of its own."""

    def __init__(self) -> None:
        self.held: dict[str, dict[str, JsonObject]] = {host: {} for host in HOSTS}
        self.asked: list[tuple[str, str]] = []
        self.applied: list[JsonObject] = []
        self.ill: dict[str, str] = {}
        self.found: dict[str, Clock | ChaosGpuError] = {host: Clock(0.001, 0.002) for host in HOSTS}

    def command_of(self, host: str) -> tuple[str, ...] | None:
        return None if host in self.held else ("never",)

    def clocks(self, hosts: Sequence[str], timeout_s: float) -> dict[str, Clock | ChaosGpuError]:
        return {host: self.found[host] for host in hosts if timeout_s}

    def carry(self, host: str, verb: str, document: bytes, timeout_s: float) -> Reply:
        self.asked.append((host, verb))
        ill = self.ill.get(host)
        if ill == "cut off":
            raise NotReached(f"{host} cannot be reached within {timeout_s:g} s.")
        answer = self._answer(host, verb, json.loads(document), refuses=ill == "refuses")
        if ill == "loses replies" and verb == "apply":
            raise Unreachable(f"{host} broke off.")
        return Reply(1 if "error" in answer else 0, json.dumps(answer).encode(), b"")

    def _answer(self, host: str, verb: str, request: JsonObject, *, refuses: bool) -> JsonObject:
        held = self.held[host]
        if verb == "apply" and refuses:
            return {"error": {"kind": "claimed", "message": "another run holds it."}}
        if verb == "apply":
            lease: JsonObject = {"lease": request["lease"], "fault": "f", "state": "active", "observed": {"mw": 3}}
            held[str(request["lease"])] = lease
            self.applied.append(request)
            return {**lease, "expires_in_s": request["ttl_s"], "inject_skew_s": 0.001 * HOSTS.index(host)}
        if verb == "undo":
            names = [str(request["lease"])] if "lease" in request else [*held]
            return {"leases": [self._undone(held, name) for name in names]}
        return {"history": []}

    def _undone(self, held: dict[str, JsonObject], name: str) -> JsonObject:
        if name not in held:
            return {"lease": name, "state": "tombstone", "ended_by": "undo"}
        held[name]["state"] = "clean"
        return {**held[name], "restored": {"mw": 7}, "ended_by": "undo"}

    def states(self) -> dict[str, list[str]]:
        return {host: [str(lease["state"]) for lease in held.values()] for host, held in self.held.items()}


@pytest.fixture
def rack(tmp_path: Path) -> Iterator[Rack]:
    names = Names()
    activate(Run("run-1", tmp_path, Ledger(tmp_path / "ledger.jsonl", "run-1", names.now), names))
    _use(Inventory(("hosts.ini",), blast_radius=3))
    found = Rack()
    with use_transport(found):
        yield found
    targets.set_inventory(None)
    deactivate()


def _use(inventory: Inventory) -> None:
    """Use an inventory as if Ansible had been asked what `all` means in it."""
    targets.set_inventory(inventory)
    targets._Known.chosen = {"all": HOSTS, "d": ("d",)}


def _run() -> Run:
    from chaosgpu.lease.run import current_run  # noqa: PLC0415 (its name says what the test asks for)

    return current_run()


def _break(hosts: str = "all") -> JsonObject:
    return apply_fault("f", {}, duration_s=30, hosts=hosts, timeout_s=5)


def _ledger(kind: str) -> list[JsonObject]:
    return [entry for entry in _run().ledger.entries() if entry["type"] == kind]


def test_it_is_in_force_on_every_host_at_one_instant_which_is_recorded(rack: Rack) -> None:
    answer = _break()
    leases = answer["leases"]
    assert isinstance(leases, list)
    assert [lease["host"] for lease in leases if isinstance(lease, dict)] == [*HOSTS]
    assert answer["together"] == {"spread_s": 0.002, "clock_error_s": 0.004}
    assert len({request["inject_at"] for request in rack.applied}) == 1
    assert _ledger("run.chosen")[0]["hosts"] == {"all": [*HOSTS]}
    assert [entry["clock_error_s"] for entry in _ledger("lease.reserved")] == [0.002] * 3
    assert [entry["inject_skew_s"] for entry in _ledger("lease.active")] == [0.0, 0.001, 0.002]
    assert _ledger("fault.together")[0]["spread_s"] == 0.002


def test_each_host_gets_the_instant_by_its_own_clock(rack: Rack) -> None:
    rack.found["b"] = Clock(0.04, 0.001)
    _break()
    at = {str(one["host"]): one["inject_at"] for one in _ledger("lease.reserved")}
    assert isinstance(at["a"], float)
    assert isinstance(at["b"], float)
    assert at["b"] - at["a"] == pytest.approx(0.039, abs=1e-4)


@pytest.mark.parametrize(
    ("clock", "sentence"),
    [
        (Clock(-0.08, 0.001), r"the clock of c is -80 ms off, and 50 ms is the limit"),
        (Clock(0.0, 0.2), r"known to 200 ms only"),
        (Unreachable("no date."), r"the clock of c is unknown: no date"),
    ],
)
def test_a_clock_that_is_off_or_unknown_is_refused_and_nothing_is_touched(
    rack: Rack, clock: Clock | ChaosGpuError, sentence: str
) -> None:
    rack.found["c"] = clock
    with pytest.raises(Refused, match=f"{sentence}.*Nothing was touched"):
        _break()
    assert rack.asked == []
    assert _ledger("lease.reserved") == []


def test_without_one_instant_clocks_do_not_matter(rack: Rack) -> None:
    _use(Inventory(("hosts.ini",), blast_radius=3, together=False))
    rack.found["c"] = Clock(9.0, 9.0)
    assert "together" not in _break()
    assert not any("inject_at" in request for request in rack.applied)


@pytest.mark.parametrize(
    ("ill", "kind", "states", "told"),
    [
        ("refuses", Refused, {"a": ["clean"], "b": [], "c": ["clean"]}, "refused on b: b: another run holds it."),
        ("cut off", NotReached, {"a": ["clean"], "b": [], "c": ["clean"]}, "unreachable on b: b cannot be reached"),
        ("loses replies", Unreachable, _ALL_CLEAN, "unreachable on b: b broke off."),
    ],
)
def test_where_one_host_says_no_it_is_in_force_on_none(
    rack: Rack, ill: str, kind: type[ChaosGpuError], states: dict[str, list[str]], told: str
) -> None:
    rack.ill["b"] = ill
    with pytest.raises(kind, match=r"could not be put in on all of 3 hosts.*ok on a, c; ") as raised:
        _break()
    assert told in str(raised.value)
    assert type(raised.value) is kind
    assert rack.states() == states
    assert not _run().book.open()


def test_more_hosts_than_the_blast_radius_over_the_whole_run_are_refused(rack: Rack) -> None:
    _break()
    with pytest.raises(BadArgument, match=r"means 4 hosts \(a, b, c, d\), and the blast radius is 3"):
        _break("d")
    assert all(host != "d" for host, _ in rack.asked)


def test_the_undo_uses_the_recorded_names_whatever_the_inventory_says_by_then(rack: Rack) -> None:
    _break()
    targets.set_inventory(None)
    answer = undo_everything(None, 5)
    assert answer["hosts"] == [*HOSTS]
    assert rack.states() == _ALL_CLEAN
    with pytest.raises(BadArgument):
        undo_everything("d", 5)


def test_a_host_that_is_cut_off_keeps_no_other_from_its_undo_and_is_told(rack: Rack) -> None:
    _break()
    rack.ill["b"] = "cut off"
    with pytest.raises(NotReached, match="b cannot be reached"):
        undo_run(_run(), HOSTS, 5, "rollback")
    assert rack.states() == {"a": ["clean"], "b": ["active"], "c": ["clean"]}
    assert [lease.host for lease in _run().book.open()] == ["b"]
    rack.ill.clear()
    undo_everything(None, 5)
    assert not _run().book.open()


def test_a_lease_that_is_stuck_on_one_host_is_named(rack: Rack, monkeypatch: pytest.MonkeyPatch) -> None:
    _break()
    stuck = {"state": "stuck", "reason": "the driver hangs"}
    undone = rack._undone
    monkeypatch.setattr(
        rack, "_undone", lambda held, name: undone(held, name) | (stuck if held is rack.held["c"] else {})
    )
    with pytest.raises(
        NotRestored, match=r"Not everything was put back\. c: f \(lease-\w+\) is stuck: the driver hangs"
    ):
        undo_everything(None, 5)
