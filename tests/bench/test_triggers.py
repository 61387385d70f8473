# SPDX-License-Identifier: Apache-2.0
"""The keeper and the timer of each lease on a real systemd host: any one of them is enough, and none stays behind."""

import json
import time

import pytest

from bench.files import AGENT
from bench.hosts import Host
from bench.leases import apply, broken, kill_keeper, state, stop_timer, units
from bench.waiting import wait_until

_LATE_S = 5.0


def _left_s(host: Host, lease: str) -> float:
    listed = {line["lease"]: line["expires_in_s"] for line in host.agent("list")["leases"]}
    return float(listed[lease])


@pytest.mark.parametrize(("fault", "holder"), [("gpu.power.cap", {}), ("gpu.memory.fill", {"hold": "active running"})])
def test_a_lease_has_a_keeper_and_a_timer_in_units_that_carry_its_name(
    host: Host, fault: str, holder: dict[str, str]
) -> None:
    lease = f"named-{fault}"
    apply(host, lease, fault=fault)
    expected = {"keep": "active running", "revert.timer": "active waiting", "revert.service": "inactive dead"}
    assert units(host, lease) == {**expected, **holder}
    host.agent("undo", {"lease": lease})
    wait_until(lambda: units(host, lease) == {})


@pytest.mark.parametrize("lease", ["end.timer", "end.service", "end", "a-", "x" * 100])
def test_no_lease_id_leads_to_another_units_name(host: Host, lease: str) -> None:
    apply(host, lease, ttl_s=2.0)
    kill_keeper(host, lease)
    wait_until(lambda: not broken(host), 2.0 + _LATE_S)
    assert host.run(["systemctl", "list-units", "--failed", "--quiet", "chaosgpu-*"]).stdout == ""


@pytest.mark.parametrize("fault", ["gpu.power.cap", "gpu.memory.fill"])
def test_the_timer_alone_ends_a_lease_at_its_deadline(host: Host, fault: str) -> None:
    lease = f"timer-{fault}"
    apply(host, lease, ttl_s=2.5, fault=fault)
    kill_keeper(host, lease)
    assert broken(host)
    wait_until(lambda: not broken(host), 2.5 + _LATE_S)
    wait_until(lambda: state(host, lease)["state"] == "clean")
    assert state(host, lease)["ended_by"] == "deadline"
    wait_until(lambda: units(host, lease) == {})


def test_the_keeper_alone_ends_a_lease_at_its_deadline(host: Host) -> None:
    apply(host, "keeper-alone", ttl_s=2.0)
    stop_timer(host, "keeper-alone")
    assert broken(host)
    wait_until(lambda: not broken(host), 2.0 + _LATE_S)


def test_without_keeper_and_timer_the_lease_stays(host: Host) -> None:
    """The control for the two tests above: it is nobody else who ends it there."""
    apply(host, "nobody", ttl_s=3.0)
    kill_keeper(host, "nobody")
    stop_timer(host, "nobody")
    time.sleep(4.0)
    assert broken(host)


def test_daemon_reload_and_an_early_start_do_not_end_a_lease(host: Host) -> None:
    apply(host, "reload", ttl_s=5.0)
    kill_keeper(host, "reload")
    for _ in range(3):
        host.run(["systemctl", "daemon-reload"], check=True)
    host.run(["systemctl", "start", "chaosgpu-revert-reload.service"], check=True)
    time.sleep(1.0)
    assert broken(host)
    assert _left_s(host, "reload") > 0
    wait_until(lambda: not broken(host), 5.0 + _LATE_S)
    ended = state(host, "reload")
    assert ended["history"][-1]["boottime_s"] >= ended["deadline_s"]


def test_a_renewed_lease_outlives_the_moment_its_timer_was_set_for(host: Host) -> None:
    apply(host, "outlives", ttl_s=3.0, max_duration_s=30)
    kill_keeper(host, "outlives")
    host.agent("renew", {"leases": ["outlives"], "ttl_s": 6.0})
    time.sleep(3.5)
    assert broken(host)
    assert units(host, "outlives")["revert.service"] == "active running"
    wait_until(lambda: not broken(host), 6.0 + _LATE_S)
    wait_until(lambda: units(host, "outlives") == {})


def test_a_killed_reverter_is_started_again_and_leaves_no_failed_unit(host: Host) -> None:
    apply(host, "again", ttl_s=3.0)
    kill_keeper(host, "again")
    reverter = ["systemctl", "kill", "--signal=KILL", "chaosgpu-revert-again.service"]
    wait_until(lambda: units(host, "again").get("revert.service") == "active running")
    host.run(reverter, check=True)
    wait_until(lambda: not broken(host), 3.0 + _LATE_S)
    wait_until(lambda: units(host, "again") == {})
    assert host.run(["systemctl", "list-units", "--failed", "--quiet", "chaosgpu-*"]).stdout == ""


def test_a_list_brings_a_lost_timer_and_a_lost_keeper_back(host: Host) -> None:
    apply(host, "lost")
    stop_timer(host, "lost")
    kill_keeper(host, "lost")
    host.agent("list")
    found = units(host, "lost")
    assert (found["keep"], found["revert.timer"]) == ("active running", "active waiting")


def test_a_holder_that_nobody_ends_is_ended_by_its_own_unit(host: Host) -> None:
    apply(host, "scope", ttl_s=2.0, fault="gpu.memory.fill")
    kill_keeper(host, "scope")
    stop_timer(host, "scope")
    host.run(["pkill", "--signal", "STOP", "-f", "agent.pyz hold"], check=True)  # so that it cannot end itself
    time.sleep(3.0)
    assert broken(host)
    wait_until(lambda: not broken(host), 8.0)
    assert host.run(["systemctl", "list-units", "--failed", "--quiet", "chaosgpu-*"]).stdout == ""


def test_where_logind_kills_what_a_session_leaves_the_lease_ends_at_its_deadline(host: Host) -> None:
    folder = "/etc/systemd/logind.conf.d"
    setting = f"mkdir -p {folder} && printf '[Login]\\nKillUserProcesses=yes\\n' > {folder}/kill.conf"
    host.run(["sh", "-c", setting], check=True)
    host.run(["systemctl", "restart", "systemd-logind"], check=True)
    try:
        uuid = host.gpus().show()[0]["identity"]["uuid"]
        order = {"protocol": 1, "lease": "session", "fault": "gpu.memory.fill", "ttl_s": 3.0, "max_duration_s": 3.0}
        order |= {"params": {"gpu": uuid, "used_percent": 80}, "run": "r"}
        host.run(["sudo", "--non-interactive", AGENT, "apply"], json.dumps(order), user="ops", check=True)
        host.disconnect()
        time.sleep(1.0)
        assert broken(host)
        wait_until(lambda: not broken(host), 3.0 + _LATE_S)
    finally:
        host.run(["rm", f"{folder}/kill.conf"], check=True)
        host.run(["systemctl", "restart", "systemd-logind"], check=True)


def test_where_systemd_does_not_start_units_nothing_is_touched(host: Host) -> None:
    """A shut bus, as it looks to the agent: systemctl answers, and no timer can be had."""
    host.run(["systemctl", "mask", "--runtime", "chaosgpu-revert-unstarted.timer"], check=True)
    try:
        uuid = host.gpus().show()[0]["identity"]["uuid"]
        order = {"lease": "unstarted", "fault": "gpu.power.cap", "ttl_s": 5, "max_duration_s": 5, "run": "r"}
        answer = host.agent("apply", {**order, "params": {"gpu": uuid, "watts": 300}})
        assert answer["error"]["kind"] == "refused"
        assert "timer that would undo this lease could not be set" in answer["error"]["message"]
        assert not broken(host)
        assert units(host, "unstarted").keys() <= {"revert.timer"}
    finally:
        host.run(["systemctl", "unmask", "--runtime", "chaosgpu-revert-unstarted.timer"], check=True)
