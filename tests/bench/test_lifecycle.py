# SPDX-License-Identifier: Apache-2.0
"""A lifecycle on systemd hosts with real apt, struck in each phase: a host ends restored or quarantined."""

import itertools
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bench import packages
from bench.files import AGENT
from bench.hosts import Bench, Host
from bench.inventory import GROUP, write_inventory
from bench.packages import APPLY_S, seen
from bench.units import put, shown, take_away
from bench.waiting import wait_until
from support.chaos import GUARD, TESTS, UNDO_ALL, Chaos, Played, experiment, python
from support.debs import LATER

pytestmark = pytest.mark.timeout(3600)

UNIT = "served.service"
_RUN_S = 1500.0
_CONTROL = {"name": "lifecycle", "provider": {"type": "python", "module": "chaosgpu.controls.lifecycle"}}
_IMPATIENT = {"name": "impatient", "provider": {"type": "python", "module": "support.impatient"}}
_PLAN: dict[str, Any] = {
    "hosts": GROUP,
    "drain": {"units": [UNIT], "within_s": 30},
    "packages": {"nvidia-open": LATER, "nvidia-fabricmanager": LATER},
    "within_s": 590,
    # A playbook that takes 10 s here took 60 s where thirty other things ran: a limit is for what hangs.
    "timeouts_s": {
        "drain": 180, "snapshot": 240, "pin": 240, "verify": 180, "rollback": 240, "return": 180, "quarantine": 180,
    },
}  # fmt: skip
# Commands over a connection that was cut end soon, instead of at their step's timeout.
_ALIVE = "-C -o ControlMaster=auto -o ControlPersist=20s -o ServerAliveInterval=3 -o ServerAliveCountMax=3"


@dataclass
class Fleet:
    """Two hosts in service with the old driver, and how they were."""

    bench: Bench
    folder: Path
    hosts: list[Host]

    def __post_init__(self) -> None:
        write_inventory(
            self.bench.plan,
            self.folder,
            ansible_ssh_args=_ALIVE,
            chaosgpu_boot_time_command="stat -c %Y /proc/1",
        )
        self.before = [seen(host) for host in self.hosts]

    def start(self, method: list[dict[str, Any]]) -> Chaos:
        """Start a run with a lifecycle around it."""
        configuration = {
            "chaosgpu_inventory": "hosts.yml",
            "chaosgpu_blast_radius": len(self.hosts),
            "chaosgpu_lifecycle": _PLAN,
        }
        controls = [_IMPATIENT, GUARD, _CONTROL]
        content = experiment(method, controls=controls, rollbacks=[UNDO_ALL], configuration=configuration)
        with self.bench.inside():
            return Chaos(self.folder, content, ignore=(), PYTHONPATH=f"{TESTS}:{TESTS.parent}", TEST_PAUSES_S="5 15")

    def recover(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run `chaosgpu recover` beside the run."""
        command = [str(Path(sys.executable).with_name("chaosgpu")), "recover", *words]
        with self.bench.inside():
            return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=_RUN_S, check=False)

    @property
    def run(self) -> Path:
        """Return the run's directory."""
        return (self.folder / ".chaosgpu/runs/latest").resolve()

    def reached(self, phase: str) -> bool:
        """Tell whether the agent of the struck host is at work in a phase, or that is over before it could be seen."""
        if phase == "method":
            return (self.folder / "waiting").exists()
        way, step = phase.split()
        if not self._has("lifecycle.step", way, step):
            return False
        at_work = self.hosts[1].run(["pgrep", "-f", f"[a]gent.pyz {VERBS[step]}"])
        return at_work.returncode == 0 or self._has("lifecycle.done", way, step)

    def _has(self, kind: str, way: str, step: str) -> bool:
        path = self.run / "ledger.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return any((line["type"], line.get("way"), line.get("step")) == (kind, way, step) for line in lines)

    def words(self) -> list[str]:
        """Say of each host how it is: restored and in service, restored and kept out, in quarantine, or another."""
        return [self._word(host, before) for host, before in zip(self.hosts, self.before, strict=True)]

    @staticmethod
    def _word(host: Host, before: str) -> str:
        status = _status(host)
        if status["quarantine"] is not None:
            return "quarantined"
        held = [lease["lease"] for lease in host.agent("list")["leases"]]
        if held or seen(host) != before:
            return f"another: {held}, {status}"
        up = shown(host, UNIT, "ActiveState") == ["active"]
        if status["state"] == "in service":
            return "restored" if up else "another: it is in service and its unit is down"
        return "kept out" if status["state"] == "drained" and not up else f"another: {status}"


def _status(host: Host) -> dict[str, Any]:
    said = host.run([AGENT, "service", "status"], json.dumps({"protocol": 1}), timeout_s=60)
    found: dict[str, Any] = json.loads(said.stdout)
    return found


def _tidy(host: Host) -> None:
    """Bring a host back whatever a test has left of it."""
    host.agent("undo", {"all": True}, timeout_s=APPLY_S)
    status = _status(host)
    if status["quarantine"] is not None:
        host.run([AGENT, "service", "release"], json.dumps({"by": "test", "reason": "over"}), timeout_s=60)
    if status["drill"]:
        host.run([AGENT, "service", "return"], json.dumps({"drill": status["drill"]}), timeout_s=60)
    host.agent("resume", {"by": "test", "reason": "over"})
    take_away(host, UNIT)
    packages.remove(host)
    host.run(["rm", "-rf", "/var/lib/chaosgpu/lifecycle", "/var/lib/chaosgpu/service"], check=True)
    wait_until(partial(_does, host, "remove-units"), 120.0)


def _does(host: Host, what: str) -> bool:
    """Install or remove them; systemd of a test host on a busy machine may not answer in time, which it tells."""
    return host.run([AGENT, what], timeout_s=60).returncode == 0


@pytest.fixture
def pair(fleet: Bench, host: Host, other: Host, debs: Path, tmp_path: Path) -> Iterator[Fleet]:
    """Give both hosts with the old driver and a service that is up."""
    for one in (host, other):
        packages.remove(one)
        packages.set_up(one, debs)
        put(one, UNIT)
        one.run(["systemctl", "enable", "--quiet", UNIT], check=True)
        wait_until(partial(_does, one, "install-units"), 120.0)
    yield Fleet(fleet, tmp_path, [host, other])
    for one in (host, other):
        _tidy(one)


def _cap(host: Host) -> dict[str, Any]:
    bus_id = host.gpus().show()[0]["identity"]["pci_bus_id"]
    given: dict[str, Any] = {"gpu": bus_id, "watts": 300, "duration_s": 500, "timeout_s": 60, "hosts": GROUP}
    return python("cap power", "cap_power", module="chaosgpu.gpu.actions", **given)


def test_both_hosts_go_through_the_whole_lifecycle_and_come_back_to_the_byte(pair: Fleet) -> None:
    played = pair.start([_cap(pair.hosts[0])]).finish(_RUN_S)
    assert played.verdict[0] == "passed", played.said
    assert pair.words() == ["restored", "restored"]
    lines = [line for line in played.ledger if line["type"] in ("host.baseline", "host.restored", "host.returned")]
    names = [host.name for host in pair.hosts]
    assert [line["host"] for line in lines if line["type"] == "host.restored"] == names
    assert all(line["differences"] == [] for line in lines if line["type"] == "host.restored")
    pinned = [
        line for line in played.ledger if line.get("fault") == "package.install" and line["type"] == "lease.active"
    ]
    assert {line["host"] for line in pinned} == {*names}


# What the agent of a host is asked in each step.
VERBS = {
    "drain": "service drain",
    "snapshot": "packages snapshot",
    "pin": "apply",
    "verify": "packages verify",
    "rollback": "undo",
    "return": "service return",
}
PHASES = ("there drain", "there snapshot", "there pin", "there verify", "method", "back rollback", "back return")


def _kill_the_controller(pair: Fleet, chaos: Chaos) -> None:
    chaos.send(signal.SIGKILL)
    chaos.finish(60)
    pair.recover()


def _cut_ssh(pair: Fleet, chaos: Chaos) -> None:
    pair.hosts[1].cut_network()
    try:
        chaos.finish(_RUN_S)
    finally:
        pair.hosts[1].restore_network()
    pair.recover()


def _reboot(pair: Fleet, chaos: Chaos) -> None:
    pair.hosts[1].reboot(120)
    chaos.finish(_RUN_S)
    pair.recover()


STRIKES: dict[str, Callable[[Fleet, Chaos], None]] = {
    "kill the controller": _kill_the_controller,
    "cut SSH": _cut_ssh,
    "reboot the host": _reboot,
}


@pytest.mark.parametrize(("phase", "strike"), [*itertools.product(PHASES, STRIKES)])
def test_struck_in_a_phase_a_host_is_restored_or_in_quarantine_and_never_another(
    pair: Fleet, phase: str, strike: str
) -> None:
    wait = python("wait", "wait", seconds=120 if phase == "method" else 0, mark=str(pair.folder / "waiting"))
    chaos = pair.start([_cap(pair.hosts[0]), wait])
    wait_until(lambda: pair.reached(phase), _RUN_S)
    STRIKES[strike](pair, chaos)

    words = pair.words()
    assert set(words) <= {"restored", "quarantined", "kept out"}, words
    last = Played(0, "", pair.folder).ledger[-1]
    assert last["type"] == "run.finished"
    if "quarantined" in words:
        assert last["verdict"] == "unsafe"
    if "kept out" in words:
        pair.recover("--give-back", pair.run.name)
        assert set(pair.words()) <= {"restored", "quarantined"}
