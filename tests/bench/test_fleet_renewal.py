# SPDX-License-Identifier: Apache-2.0
"""Leases of a fleet that are renewed over Ansible: in force while the run lives, and gone soon after it is killed."""

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from bench.controllers import residue
from bench.hosts import Bench, Host
from bench.inventory import GROUP, write_inventory
from bench.leases import broken
from bench.striking import started_by
from bench.waiting import wait_until
from support.chaos import GUARD, TESTS, UNDO_ALL, Chaos, experiment, python

pytestmark = pytest.mark.timeout(900)

_DURATION_S = 400.0
_START_S = 240.0


def _start(fleet: Bench, host: Host, folder: Path, pause_s: float) -> Chaos:
    write_inventory(fleet.plan, folder)
    bus_id = host.gpus().show()[0]["identity"]["pci_bus_id"]
    arguments = {"gpu": bus_id, "watts": 300, "duration_s": _DURATION_S, "timeout_s": 60, "hosts": GROUP}
    cap: dict[str, Any] = python("cap power", "cap_power", module="chaosgpu.gpu.actions", **arguments)
    configuration = {"chaosgpu_inventory": "hosts.yml", "chaosgpu_blast_radius": 2, "chaosgpu_renew_fleet": True}
    content = experiment(
        [cap | {"pauses": {"after": pause_s}}], controls=[GUARD], rollbacks=[UNDO_ALL], configuration=configuration
    )
    with fleet.inside():
        return Chaos(folder, content, PYTHONPATH=f"{TESTS}:{TESTS.parent}", FLEET_OF=str(folder))


def _renewals(host: Host) -> int:
    """Count how often the lease that the host holds was renewed; 0 where it holds none yet."""
    leases = host.agent("list")["leases"]
    return int(host.agent("record", {"lease": leases[0]["lease"]})["state"]["renewals"]) if leases else 0


def test_a_run_that_is_longer_than_a_ttl_keeps_its_leases_on_all_hosts(
    fleet: Bench, host: Host, other: Host, tmp_path: Path
) -> None:
    chaos = _start(fleet, host, tmp_path, 50.0)
    played = chaos.finish(_START_S + 200)
    assert played.verdict[0] == "passed", played.said
    assert {entry["ttl_s"] for entry in played.ledger if entry["type"] == "lease.reserved"} != {_DURATION_S + 10}
    renewed = [entry for entry in played.ledger if entry["type"] == "lease.renewed"]
    assert {entry["host"] for entry in renewed} == {host.name, other.name}
    assert max(entry["renewals"] for entry in renewed) >= 2
    assert not broken(host)
    assert not broken(other)
    assert started_by(str(tmp_path)) == []


def test_a_controller_that_is_killed_renews_no_more_and_every_host_ends_it_long_before_its_hard_end(
    fleet: Bench, host: Host, other: Host, tmp_path: Path
) -> None:
    chaos = _start(fleet, host, tmp_path, 300.0)
    wait_until(lambda: _renewals(host) and _renewals(other), _START_S)
    lines = (tmp_path / ".chaosgpu/runs/latest/ledger.jsonl").read_text().splitlines()
    ttl_s = max(float(entry.get("ttl_s", 0)) for entry in map(json.loads, lines))
    chaos.send(signal.SIGKILL)
    killed_s = time.monotonic()
    chaos.finish(30)
    wait_until(lambda: not broken(host) and not broken(other), ttl_s + 60)
    # The TTL, the time of one call, and the host's own bound for settings; busy machines take longer.
    assert time.monotonic() - killed_s < ttl_s + ttl_s / 3 + 5
    wait_until(lambda: started_by(str(tmp_path)) == [], 20)
    for one in (host, other):
        wait_until(lambda: residue(one) == [], 30)  # noqa: B023 (called at once)
