# SPDX-License-Identifier: Apache-2.0
"""`agent.pyz self-drill` on a real systemd host: each trigger alone, and each that is missing or does nothing."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from bench.files import AGENT
from bench.hosts import Host
from bench.waiting import wait_until

if TYPE_CHECKING:
    import subprocess

_FOLDER = "/var/lib/chaosgpu/selfdrill"
_NAMES = ["keeper", "timer", "sweep"]


def _drill(host: Host, *words: str, user: str = "ops") -> "subprocess.CompletedProcess[str]":
    """Drill as an operator over SSH, who may start the agent as root and nothing else."""
    sudo = [] if user == "root" else ["sudo", "--non-interactive"]
    return host.run([*sudo, AGENT, "self-drill", *words], user=user, timeout_s=400.0)


def _left(host: Host) -> list[str]:
    """Name what a drill has left: files, units, processes, leases that have not ended, claims."""
    files = host.run(["sh", "-c", f"ls -d {_FOLDER} {_FOLDER}/*; ls /var/tmp/chaosgpu-claim-*.json"]).stdout.split()
    units = host.run(["systemctl", "list-units", "--all", "--plain", "--no-legend", "chaosgpu-*-self-drill-*"]).stdout
    agents = host.run(["pgrep", "--full", "--list-full", "agent.pyz"]).stdout.splitlines()
    leases = [line["lease"] for line in host.agent("list")["leases"]]
    return [*files, *units.splitlines(), *agents, *leases]


@pytest.fixture
def swept(host: Host) -> Iterator[Host]:
    host.run([AGENT, "install-units"], timeout_s=120.0, check=True)
    yield host
    host.run([AGENT, "remove-units"], timeout_s=120.0, check=True)


@pytest.mark.timeout(450)
def test_each_trigger_alone_undoes_its_leases_and_nothing_is_left(swept: Host) -> None:
    done = _drill(swept, "--repeat", "2", "--json")
    found: dict[str, Any] = json.loads(done.stdout)
    print(done.stderr, done.stdout)  # noqa: T201 (the figures, for whoever asks pytest for them)
    assert done.returncode == 0, done.stderr
    assert (found["holds"], found["host"], found["left"]) == (True, swept.name, [])
    assert [one["trigger"] for one in found["triggers"]] == _NAMES
    assert [len(one["late_s"]) for one in found["triggers"]] == [2, 2, 2]
    assert all(0 <= late <= one["at_most_s"] for one in found["triggers"] for late in one["late_s"])
    assert [one["at_most_s"] for one in found["triggers"]] == [5.0, 5.0, 35.0]
    assert found["boot"] == {"installed": True, "why_not": ""}
    wait_until(lambda: _left(swept) == [])


@pytest.fixture
def useless(host: Host) -> Iterator[Host]:
    """Let systemd start something else where a timer fires, and install neither the sweep nor the boot unit."""
    folder = "/etc/systemd/system/chaosgpu-revert-.service.d"
    text = "[Service]\\nExecStart=\\nExecStart=/bin/true\\n"
    host.run(["sh", "-c", f"mkdir {folder}; printf '{text}' > {folder}/useless.conf; systemctl daemon-reload"])
    yield host
    host.run(["sh", "-c", f"rm -r {folder}; systemctl daemon-reload"], check=True)


@pytest.mark.timeout(300)
def test_a_timer_that_starts_something_else_and_a_missing_sweep_are_found_out(useless: Host) -> None:
    """The control: with them taken away the same command says so, and undoes what they would have left."""
    done = _drill(useless, "--repeat", "1", user="root")
    print(done.stderr, done.stdout)  # noqa: T201 (as above)
    rows = {line.split()[0]: line.split()[-1] for line in done.stdout.splitlines() if line.split()[0] in _NAMES}
    assert (done.returncode, rows) == (1, {"keeper": "yes", "timer": "NO", "sweep": "NO"}), done.stdout
    assert "timer: 5 s after its deadline the lease was still in force (" in done.stdout
    assert "sweep: 35 s after its deadline the lease was still in force." in done.stdout
    assert "at boot: chaosgpu-recover.service is not installed; as root: " in done.stdout
    assert "This host does not keep the promise" in done.stdout
    wait_until(lambda: _left(useless) == [])


@pytest.mark.timeout(300)
def test_a_drill_whose_session_is_lost_leaves_nothing(host: Host) -> None:
    with host.start(["sudo", "--non-interactive", AGENT, "self-drill"], user="ops") as session:
        wait_until(lambda: host.run(["sh", "-c", f"grep -l broken {_FOLDER}/*"]).stdout, 120.0)
        session.kill()
    host.run(["pkill", "--signal", "HUP", "--full", "agent.pyz self-drill"], check=True)  # as from a lost terminal
    wait_until(lambda: _left(host) == [], 120.0)


def test_whoever_is_not_root_is_told_to_be(host: Host) -> None:
    done = host.run([AGENT, "self-drill"], user="ops")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "The triggers of a host are root's: start the drill as root.\n"
