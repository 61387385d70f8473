# SPDX-License-Identifier: Apache-2.0
"""Hosts and users with no timer to be had: the keeper alone ends their leases, and cron what a killed keeper leaves."""

import json
import time
from collections.abc import Iterator

import pytest

from bench.files import AGENT
from bench.hosts import Host
from bench.leases import apply, broken, order, state, units
from bench.waiting import wait_until

_LATE_S = 5.0
_LOGIND = "/etc/systemd/logind.conf.d"


def _apply_as_ops(host: Host, lease: str, ttl_s: float) -> None:
    request = {"protocol": 1, **order(host, lease, ttl_s, "gpu.memory.fill")}
    said = host.run([AGENT, "apply"], json.dumps(request), user="ops")
    assert json.loads(said.stdout)["state"] == "active", said
    host.disconnect()  # the session that made it is over


def _kill_user_processes(host: Host, *more: str) -> None:
    lines = "\\n".join(("[Login]", "KillUserProcesses=yes", *more, ""))
    host.run(["sh", "-c", f"mkdir -p {_LOGIND} && printf '{lines}' > {_LOGIND}/kill.conf"], check=True)
    host.run(["systemctl", "restart", "systemd-logind"], check=True)


def _state_as_ops(host: Host, lease: str) -> str:
    said = host.run([AGENT, "record"], json.dumps({"protocol": 1, "lease": lease}), user="ops")
    found: str = json.loads(said.stdout)["state"]["state"]
    return found


def test_a_user_without_root_has_a_keeper_that_outlives_the_session_and_no_unit(host: Host) -> None:
    _apply_as_ops(host, "as-ops", 8.0)
    assert broken(host)
    assert units(host, "as-ops") == {}
    wait_until(lambda: not broken(host), 8.0 + _LATE_S)
    wait_until(lambda: _state_as_ops(host, "as-ops") == "clean")


def test_where_logind_kills_what_a_user_leaves_the_holder_goes_too_and_the_next_sweep_says_so(other: Host) -> None:
    _kill_user_processes(other)
    try:
        _apply_as_ops(other, "killed", 60.0)
        wait_until(lambda: not broken(other), 20.0)
        other.run([AGENT, "sweep"], '{"protocol": 1}', user="ops")
        assert _state_as_ops(other, "killed") == "clean"
    finally:
        other.run(["sh", "-c", f"rm {_LOGIND}/kill.conf; systemctl restart systemd-logind"], check=True)


def test_a_user_whom_logind_is_told_to_spare_keeps_the_lease_to_its_deadline_there_too(other: Host) -> None:
    _kill_user_processes(other, "KillExcludeUsers=ops")
    try:
        _apply_as_ops(other, "spared", 8.0)
        time.sleep(1.0)
        assert broken(other)
        wait_until(lambda: not broken(other), 8.0 + _LATE_S)
    finally:
        other.run(["sh", "-c", f"rm {_LOGIND}/kill.conf; systemctl restart systemd-logind"], check=True)


@pytest.fixture
def bare(host: Host) -> Iterator[Host]:
    """Take away what says that PID 1 is systemd (sd_booted(3)): to the agent it is a host with another init."""
    host.run(["mv", "/run/systemd/system", "/run/systemd/away"], check=True)
    yield host
    host.run(["mv", "/run/systemd/away", "/run/systemd/system"], check=True)


def test_where_pid_1_is_not_systemd_the_keeper_alone_ends_a_lease(bare: Host) -> None:
    apply(bare, "bare", ttl_s=5.0, fault="gpu.memory.fill")
    assert bare.run(["sh", "-c", "ls /run/systemd/transient | grep bare"]).stdout == ""
    wait_until(lambda: not broken(bare), 5.0 + _LATE_S)
    wait_until(lambda: state(bare, "bare")["state"] == "clean")


def test_where_pid_1_is_not_systemd_cron_is_installed_and_ends_what_a_killed_keeper_leaves(bare: Host) -> None:
    installed = json.loads(bare.run([AGENT, "install-units"]).stdout)
    try:
        assert (installed["backend"], installed["written"]) == ("cron", ["/etc/cron.d/chaosgpu"])
        apply(bare, "crond", ttl_s=6.0)
        bare.run(["pkill", "--signal", "KILL", "-f", "agent.pyz keep .*/crond$"], check=True)
        line = next(row for row in bare.run(["cat", "/etc/cron.d/chaosgpu"]).stdout.splitlines() if row[:1] == "*")
        over = state(bare, "crond")["deadline_s"]
        wait_until(lambda: time.clock_gettime(time.CLOCK_BOOTTIME) > over + 0.5)
        assert broken(bare)  # the control: nobody has come yet
        command = line.split(maxsplit=6)[6]  # what cron runs each minute; that it runs it is proved after a reboot
        bare.run(["sh", "-c", command])
        assert not broken(bare)
        assert state(bare, "crond")["ended_by"] == "deadline"
    finally:
        bare.agent("undo", {"all": True})
        bare.run([AGENT, "remove-units"], check=True)
