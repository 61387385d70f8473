# SPDX-License-Identifier: Apache-2.0
"""Renewal of a fleet's leases: opt-in, with one call for all hosts, and for at least six round trips at a time."""

import io
import json
import sys
import time
from pathlib import Path

import pytest

from chaosgpu.errors import BadArgument, NotReached, Refused
from chaosgpu.fleet import renew
from chaosgpu.fleet.ask import use_transport
from chaosgpu.fleet.inventory import Inventory, named_inventory
from chaosgpu.fleet.transports import Reply
from chaosgpu.fleet.transports.ansible import AnsibleTransport
from chaosgpu.fleet.transports.local import LocalTransport
from chaosgpu.fleet.transports.routed import RoutedTransport
from chaosgpu.fleet.values import JsonObject
from chaosgpu.lease.fleet_ttl import fleet_ttl_s
from chaosgpu.lease.renewal import Renewal, Way

_HOSTS = ("hosts.ini",)
_WHERE: JsonObject = {"l1": "a", "l2": "b", "l3": "a", "l4": "down"}


def test_without_the_setting_nothing_is_renewed_over_ansible_and_this_host_as_ever() -> None:
    way = RoutedTransport("localhost", LocalTransport(("agent",)), AnsibleTransport(Inventory(_HOSTS)))
    assert way.command_of("gpu1") is None
    assert way.command_of("localhost") == ("agent",)
    assert fleet_ttl_s(Inventory(_HOSTS), 100.0) is None


def test_with_it_one_command_reaches_all_hosts_and_this_one() -> None:
    way = RoutedTransport("localhost", LocalTransport(("agent",)), AnsibleTransport(Inventory(_HOSTS, renew=True)))
    command = way.command_of("gpu1")
    assert command is not None
    assert command == way.command_of("localhost")
    assert command[:3] == (sys.executable, "-m", "chaosgpu.fleet.renew")
    assert json.loads(command[3])["inventory"] == ["hosts.ini"]


@pytest.mark.parametrize(
    ("given_s", "round_trip_s", "ttl_s"), [(None, 1.0, 30.0), (None, 7.3, 44.0), (12.0, 2.0, 12.0), (60.0, 10.0, 60.0)]
)
def test_a_renewal_counts_for_six_round_trips_and_no_less_than_on_one_host(
    given_s: float | None, round_trip_s: float, ttl_s: float
) -> None:
    assert fleet_ttl_s(Inventory(_HOSTS, renew=True, ttl_s=given_s), round_trip_s) == ttl_s


def test_a_shorter_one_is_refused() -> None:
    with pytest.raises(Refused, match=r"chaosgpu_ttl_s is 30, and a round trip to these hosts took 5\.5 s now"):
        fleet_ttl_s(Inventory(_HOSTS, renew=True, ttl_s=30.0), 5.5)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"chaosgpu_ttl_s": 30}, "set chaosgpu_renew_fleet to true as well"),
        ({"chaosgpu_renew_fleet": True, "chaosgpu_ttl_s": "long"}, "chaosgpu_ttl_s must be a number of seconds"),
        ({"chaosgpu_renew_fleet": "yes"}, "chaosgpu_renew_fleet must be true or false"),
    ],
)
def test_what_is_no_renewal_is_told(tmp_path: Path, given: dict[str, object], sentence: str) -> None:
    (tmp_path / "hosts.ini").write_text("gpu1\n")
    with pytest.raises(BadArgument, match=sentence):
        named_inventory({"chaosgpu_inventory": str(tmp_path / "hosts.ini"), **given})


class _Rack:
    """Two hosts that renew what they are asked for, and one that is down."""

    def __init__(self) -> None:
        self.asked: dict[str, JsonObject] = {}

    def command_of(self, host: str) -> tuple[str, ...] | None:
        raise AssertionError(host)

    def carry(self, host: str, verb: str, document: bytes, timeout_s: float) -> Reply:
        assert (verb, timeout_s) == ("renew", 10.0)
        if host == "down":
            raise NotReached("down cannot be reached.")
        request = self.asked[host] = json.loads(document)
        leases = [{"lease": lease, "state": "active", "expires_in_s": request["ttl_s"]} for lease in request["leases"]]
        return Reply(0, json.dumps({"leases": leases}).encode(), b"")


def test_each_host_is_asked_once_for_its_own_leases_and_one_that_is_down_is_told() -> None:
    rack = _Rack()
    with use_transport(rack):
        found = renew.renewed({"operator": "ann", "ttl_s": 30.0, "leases": [*_WHERE], "hosts": _WHERE})
    assert {host: one["leases"] for host, one in rack.asked.items()} == {"a": ["l1", "l3"], "b": ["l2"]}
    assert {one["operator"] for one in rack.asked.values()} == {"ann"}
    leases = found["leases"]
    assert isinstance(leases, list)
    assert [lease["lease"] for lease in leases if isinstance(lease, dict)] == ["l1", "l3", "l2"]
    assert "unreachable on down: down cannot be reached." in str(found["failed"])


_PROGRAM = """\
import json, sys
request = json.load(sys.stdin)
assert sys.argv[1] == "renew"
leases = [{"lease": lease, "state": host, "expires_in_s": 1} for lease, host in request["hosts"].items()]
print(json.dumps({"leases": leases, "failed": "unreachable on down"}))
"""


def test_the_renewer_says_where_each_lease_is_and_tells_what_was_renewed_beside_what_was_not(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(_PROGRAM)
    held = Renewal(tmp_path / "log")
    for lease, host in (("l1", "a"), ("l2", "b")):
        held.hold(lease, Way([sys.executable, str(program)], "tester", 0.6, host))
    reports: list[JsonObject] = []
    end_s = time.monotonic() + 20
    while len(reports) < 2 and time.monotonic() < end_s:
        held.sign()
        time.sleep(0.05)
        reports += held.reports()
    held.close()
    leases = reports[0]["renewed"]
    assert isinstance(leases, list)
    assert [(one["lease"], one["state"]) for one in leases if isinstance(one, dict)] == [("l1", "a"), ("l2", "b")]
    assert reports[1] == {"failed": "unreachable on down"}


def test_the_program_reads_one_request_and_writes_one_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "hosts.ini").write_text("gpu1\n")
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps({"operator": "ann", "ttl_s": 30, "hosts": {}})))
    monkeypatch.setattr(renew, "tie", lambda: None)
    inventory = Inventory((str(tmp_path / "hosts.ini"),), renew=True)
    assert renew.main([json.dumps(inventory.as_json()), "renew"]) == 0
    assert json.loads(capsys.readouterr().out) == {"leases": []}
