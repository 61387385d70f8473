# SPDX-License-Identifier: Apache-2.0
"""Faults over an inventory, by a real ansible-playbook and real SSH, as an operator whom sudo lets run the agent."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.controllers import residue
from bench.hosts import Bench, Host
from bench.inventory import GROUP, write_inventory
from bench.leases import apply, broken
from bench.striking import started_by
from bench.waiting import wait_until
from chaosgpu.cli.main import main
from chaosgpu.errors import ChaosGpuError, NotReached, Refused
from chaosgpu.fleet.ask import Question, ask, ask_together, use_inventory
from chaosgpu.fleet.everywhere import ask_everywhere
from chaosgpu.fleet.inventory import named_inventory
from chaosgpu.fleet.transports import Clocks
from chaosgpu.fleet.values import JsonObject, objects
from chaosgpu.lease.apply import apply_fault
from chaosgpu.lease.ids import Names
from chaosgpu.lease.ledger import Ledger
from chaosgpu.lease.run import Run, activate, deactivate
from chaosgpu.lease.together import Start, agreed
from support.chaos import GUARD, TESTS, UNDO_ALL, Chaos, Played, experiment, python

pytestmark = pytest.mark.timeout(900)

_RUN_S = 600.0
_ROOT = TESTS.parent


@pytest.fixture
def inventory(fleet: Bench, tmp_path: Path) -> Iterator[Path]:
    path = write_inventory(fleet.plan, tmp_path)
    use_inventory(named_inventory({"chaosgpu_inventory": str(path), "chaosgpu_blast_radius": 2}))
    yield path
    use_inventory(None)


def _bus_id(host: Host) -> str:
    found: str = host.gpus().show()[0]["identity"]["pci_bus_id"]
    return found


def _cap(host: Host) -> dict[str, Any]:
    arguments: dict[str, Any] = {"gpu": _bus_id(host), "watts": 300, "duration_s": 240, "timeout_s": 60, "hosts": GROUP}
    return python("cap power", "cap_power", module="chaosgpu.gpu.actions", **arguments)


def _play(bench: Bench, folder: Path, method: list[dict[str, Any]], **configuration: object) -> Played:
    content = experiment(
        method,
        controls=[GUARD],
        rollbacks=[UNDO_ALL],
        configuration={"chaosgpu_inventory": "hosts.yml", **configuration},
    )
    with bench.inside():
        chaos = Chaos(folder, content, ignore=(), PYTHONPATH=f"{TESTS}:{_ROOT}")
    return chaos.finish(_RUN_S)


def test_one_experiment_breaks_a_group_of_hosts_and_puts_all_of_them_back(
    fleet: Bench, host: Host, other: Host, tmp_path: Path
) -> None:
    write_inventory(fleet.plan, tmp_path)
    seen = python("in force", "open_leases", kind="probe", module="chaosgpu.lease.probes", hosts=GROUP, timeout_s=60)
    played = _play(fleet, tmp_path, [_cap(host), seen], chaosgpu_blast_radius=2)
    assert played.verdict[0] == "passed", played.said
    planned = played.ledger[0]
    assert planned["hosts"] == {GROUP: [host.name, other.name]}
    assert planned["fleet"]["inventory"] == [str(tmp_path / "hosts.yml")]
    probed = next(entry for entry in played.ledger if entry.get("name") == "in force")
    assert [(lease["host"], lease["state"]) for lease in probed["output"]] == [
        (host.name, "active"),
        (other.name, "active"),
    ]
    together = next(entry for entry in played.ledger if entry["type"] == "fault.together")
    assert 0 <= together["spread_s"] <= 0.1
    assert 0 < together["clock_error_s"] <= 0.1
    for kind in ("lease.reserved", "lease.active", "lease.clean"):
        assert {entry["host"] for entry in played.ledger if entry["type"] == kind} == {host.name, other.name}, kind
    assert not broken(host)
    assert not broken(other)
    for one in (host, other):
        wait_until(lambda: residue(one) == [])  # noqa: B023 (called at once)
        assert (played.run / "hosts" / one.name / "after.json").exists()


def test_a_host_that_is_down_keeps_the_whole_experiment_from_being_played(
    fleet: Bench, host: Host, other: Host, tmp_path: Path
) -> None:
    write_inventory(fleet.plan, tmp_path)
    other.cut_network()
    try:
        played = _play(fleet, tmp_path, [_cap(host)], chaosgpu_blast_radius=2)
    finally:
        other.restore_network()
    assert played.verdict[0] == "inconclusive", played.said
    assert f"ok on {host.name}; unreachable on {other.name}: {other.name} cannot be reached" in played.verdict[1]
    assert "lease.reserved" not in played.types
    assert host.agent("list")["leases"] == []


def test_more_hosts_than_the_blast_radius_are_refused_before_anything_is_touched(
    fleet: Bench, host: Host, tmp_path: Path
) -> None:
    write_inventory(fleet.plan, tmp_path)
    played = _play(fleet, tmp_path, [_cap(host)])
    assert played.verdict[0] == "inconclusive", played.said
    assert "means 2 hosts" in played.verdict[1]
    assert "the blast radius is 1" in played.verdict[1]
    assert host.agent("list")["leases"] == []


def test_a_fault_that_one_host_does_not_take_is_undone_on_the_others(
    fleet: Bench, host: Host, other: Host, inventory: Path
) -> None:
    given = {"chaosgpu_inventory": str(inventory), "chaosgpu_blast_radius": 2, "chaosgpu_together": False}
    use_inventory(named_inventory(given))
    names = Names()
    folder = inventory.parent / "run"
    folder.mkdir()
    run = Run(names.run(), folder, Ledger(folder / "ledger.jsonl", "r", names.now), names)
    activate(run)
    params: JsonObject = {"gpu": _bus_id(host), "allow_index": False, "watts": 300}
    other.cut_network()
    try:
        with fleet.inside(), pytest.raises(NotReached, match=f"ok on {host.name}; unreachable on {other.name}"):
            apply_fault("gpu.power.cap", params, duration_s=120, hosts=GROUP, timeout_s=60)
    finally:
        deactivate()
        other.restore_network()
    assert {lease.host: lease.state for lease in run.book.all()} == {host.name: "clean", other.name: "refused"}
    kinds = [entry["type"] for entry in run.ledger.entries() if entry.get("host") == host.name]
    assert kinds == ["lease.reserved", "lease.active", "lease.reverting", "lease.clean"]
    assert not broken(host)


_A_SECOND_AHEAD = """\
#!/bin/sh
now=$(/usr/bin/date.real +%s.%N)
echo "$((${now%.*} + 1)).${now#*.}"
"""


def test_a_host_whose_clock_is_a_second_ahead_is_refused_and_others_are_known_to_some_milliseconds(
    fleet: Bench, host: Host, other: Host, inventory: Path
) -> None:
    assert inventory.exists()
    there = [host.name, other.name]
    starts: dict[str, Start] = {}

    def agree(found: Clocks) -> list[Question]:
        starts.update(agreed(Names(), "f", found, 1.0, 60))
        return [Question(one, "list", {}, 30) for one in there]

    with fleet.inside():
        assert not any(isinstance(one, ChaosGpuError) for one in ask_together(there, agree, 60))
    # All hosts have one kernel's clock.
    assert max(abs(start.ahead_s) - start.error_s for start in starts.values()) <= 0
    other.run(["mv", "/usr/bin/date", "/usr/bin/date.real"], check=True)
    other.run(["sh", "-c", "cat >/usr/bin/date && chmod 755 /usr/bin/date"], _A_SECOND_AHEAD, check=True)
    try:
        with fleet.inside(), pytest.raises(Refused, match=rf"the clock of {other.name} is \+1\d\d\d ms off"):
            ask_together(there, agree, 60)
    finally:
        other.run(["mv", "/usr/bin/date.real", "/usr/bin/date"], check=True)


def test_without_the_line_in_sudoers_nothing_is_touched_and_the_sentence_says_so(
    fleet: Bench, host: Host, other: Host, inventory: Path
) -> None:
    assert inventory.exists()
    host.run(["mv", "/etc/sudoers.d/chaosgpu", "/root/sudoers"], check=True)
    try:
        with fleet.inside():
            found = ask_everywhere([host.name, other.name], "list", {}, 60)
    finally:
        host.run(["mv", "/root/sudoers", "/etc/sudoers.d/chaosgpu"], check=True)
    assert isinstance(found[host.name], Refused), found
    assert f"sudo on {host.name} does not let this user run the agent: sudo: a password is required" in str(
        found[host.name]
    )
    assert not isinstance(found[other.name], ChaosGpuError), found


def test_a_host_without_python_says_so(fleet: Bench, host: Host, inventory: Path) -> None:
    assert inventory.exists()
    host.run(["mv", "/usr/bin/python3", "/usr/bin/python3.away"], check=True)
    try:
        with (
            fleet.inside(),
            pytest.raises(Refused, match=r"could not be started: .*It needs a Python of 3\.9 or later"),
        ):
            ask(host.name, "list", {}, 60)
    finally:
        host.run(["mv", "/usr/bin/python3.away", "/usr/bin/python3"], check=True)


_ASK = """
import sys
from chaosgpu.fleet.ask import Question, ask, ask_together, use_inventory
from chaosgpu.fleet.inventory import named_inventory
use_inventory(named_inventory({"chaosgpu_inventory": sys.argv[1]}))
params = {"gpu": sys.argv[3], "allow_index": False, "watts": 300}
order = {"lease": sys.argv[4], "fault": "gpu.power.cap", "params": params, "ttl_s": 6, "max_duration_s": 6, "run": "r"}
ask(sys.argv[2], "apply", order, 60)
"""


@pytest.mark.parametrize("after_s", [0.0, 0.3])
def test_a_controller_that_is_killed_leaves_no_process_anywhere_and_no_fault_after_its_deadline(
    fleet: Bench, host: Host, inventory: Path, after_s: float
) -> None:
    words = [sys.executable, "-c", _ASK, str(inventory), host.name, _bus_id(host), f"killed-{after_s}"]
    with fleet.inside():
        controller = subprocess.Popen(words, cwd=_ROOT, env=_marked(inventory), start_new_session=True)
    wait_until(lambda: _under_way(host) or broken(host) or controller.poll() is not None, 120)
    time.sleep(after_s)
    os.kill(controller.pid, signal.SIGKILL)
    controller.wait()
    wait_until(lambda: started_by(str(inventory)) == [], 20)
    wait_until(lambda: not _under_way(host), 20)
    wait_until(lambda: residue(host) == [], 30)
    assert objects(host.agent("list", {"run": "r"}), "leases")[-1]["state"] == "clean"


def _marked(inventory: Path) -> dict[str, str]:
    """Return an environment by which `started_by` finds every process of a controller."""
    return {**os.environ, "FLEET_OF": str(inventory)}


def _under_way(host: Host) -> bool:
    return host.run(["pgrep", "--full", "agent.pyz apply"]).returncode == 0


def test_a_connection_that_is_cut_in_the_middle_is_no_answer_and_the_host_ends_the_lease_by_itself(
    fleet: Bench, host: Host, inventory: Path
) -> None:
    words = [sys.executable, "-c", _ASK, str(inventory), host.name, _bus_id(host), "cut"]
    with fleet.inside():
        controller = subprocess.Popen(words, cwd=_ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True)
    wait_until(lambda: _under_way(host) or broken(host), 120)
    host.cut_network()
    try:
        _, said = controller.communicate(timeout=90)
    finally:
        host.restore_network()
    assert f"errors.Unreachable: {host.name} cannot be reached for 'apply'" in said  # and not NotReached
    wait_until(lambda: not broken(host), 30)
    wait_until(lambda: residue(host) == [], 30)


def test_the_commands_see_and_halt_every_host_of_the_inventory(
    fleet: Bench, host: Host, other: Host, inventory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for one in (host, other):
        apply(one, f"by-hand-{one.name}", 600.0)
    named = ["--inventory", str(inventory)]
    with fleet.inside():
        assert main(["leases", *named]) == 3
        told = capsys.readouterr().out
        assert all(f"gpu.power.cap on {one.name}" in told for one in (host, other)), told
        try:
            assert main(["halt", *named, "--limit", host.name, "--reason", "a test"]) == 0
            assert not broken(host)
            assert broken(other)
        finally:
            assert main(["resume", *named, "--limit", host.name, "--reason", "a test"]) == 0
        assert main(["agent", "undo", "--all", *named, "--limit", other.name]) == 0
        assert not broken(other)
        assert main(["leases", *named]) == 0


def test_recover_brings_all_hosts_of_a_dead_run_back_by_its_record_alone(
    fleet: Bench, host: Host, other: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_inventory(fleet.plan, tmp_path)
    content = experiment(
        [_cap(host) | {"pauses": {"after": 300}}],
        controls=[GUARD],
        rollbacks=[UNDO_ALL],
        configuration={"chaosgpu_inventory": "hosts.yml", "chaosgpu_blast_radius": 2},
    )
    with fleet.inside():
        chaos = Chaos(tmp_path, content, ignore=(), PYTHONPATH=f"{TESTS}:{_ROOT}")
    wait_until(lambda: broken(host) and broken(other), 240)
    chaos.send(signal.SIGKILL)
    chaos.finish(30)
    monkeypatch.setenv("CHAOSGPU_RUNS", str(tmp_path / ".chaosgpu/runs"))
    try:
        with fleet.inside():
            assert main(["recover", (tmp_path / ".chaosgpu/runs/latest").resolve().name]) == 0
    finally:
        use_inventory(None)
    assert not broken(host)
    assert not broken(other)
    assert residue(host) == residue(other) == []


def test_an_agent_is_pushed_only_on_demand_and_never_over_one_that_holds_a_lease(
    fleet: Bench, host: Host, tmp_path: Path
) -> None:
    path = write_inventory(fleet.plan, tmp_path, user="root")
    given = {"chaosgpu_inventory": str(path), "chaosgpu_agent_path": "/opt/chaosgpu/agent.pyz"}
    try:
        with fleet.inside():
            use_inventory(named_inventory(given))
            with pytest.raises(Refused, match=r"has no agent at /opt/chaosgpu/agent\.pyz"):
                ask(host.name, "facts", {}, 60)
            use_inventory(named_inventory(given | {"chaosgpu_push_agent": True}))
            assert ask(host.name, "facts", {}, 60)["host"] == host.name
            host.run(["sh", "-c", "echo >>/opt/chaosgpu/agent.pyz"], check=True)
            apply(host, "pushed-over", 600.0)
            with pytest.raises(Refused, match=r"so it was not replaced: open: pushed-over"):
                ask(host.name, "facts", {}, 60)
            host.agent("undo", {"all": True})
            assert ask(host.name, "facts", {}, 60)["host"] == host.name
    finally:
        use_inventory(None)
        host.run(["rm", "-rf", "/opt/chaosgpu"])
