# SPDX-License-Identifier: Apache-2.0
"""The agent on a host that it was installed on: whatever is cut or killed, the host is clean by its deadline + 5 s."""

import json
import time
from typing import Any

import pytest

from bench.files import AGENT
from bench.hosts import Host
from bench.waiting import wait_until

_LATE_S = 5.0
_DEFAULT_MW = 700_000
_FAULTS = {"gpu.power.cap": {"watts": 300}, "gpu.memory.fill": {"used_percent": 80}}


def _order(host: Host, fault: str, lease: str, ttl_s: float) -> dict[str, Any]:
    gpu = host.gpus().show()[0]["identity"]["uuid"]
    params = {"gpu": gpu, **_FAULTS[fault]}
    return {"lease": lease, "fault": fault, "params": params, "ttl_s": ttl_s, "max_duration_s": ttl_s, "run": "r"}


def _apply(host: Host, fault: str, lease: str, ttl_s: float = 120.0) -> dict[str, Any]:
    answer = host.agent("apply", _order(host, fault, lease, ttl_s))
    assert answer.get("state") == "active", answer
    assert _broken(host)
    return answer


def _broken(host: Host) -> bool:
    """Look from outside, through no agent and no network, whether one of the faults is in force."""
    gpu = host.gpus().settings()[0]
    return bool(gpu["power_limit_mw"] != _DEFAULT_MW or gpu["memory_by_process"])


def _state(host: Host, lease: str) -> str:
    state: str = host.agent("record", {"lease": lease})["state"]["state"]
    return state


def _agents(host: Host) -> list[str]:
    """List every process of the agent that runs there: keepers, holders, verbs."""
    return host.run(["pgrep", "--full", "agent.pyz"]).stdout.split()


def _kill_agents(host: Host) -> None:
    for pid in _agents(host):
        host.run(["kill", "-KILL", pid])  # one may have ended with another's
    wait_until(lambda: _agents(host) == [])


def test_the_agent_sees_the_hosts_simulated_gpus(host: Host) -> None:
    facts = host.agent("facts")
    assert facts["host"] == host.name
    assert facts["library"]["path"] == "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1"
    assert facts["library"]["simulator"]
    assert [gpu["uuid"] for gpu in facts["gpus"]] == [gpu["identity"]["uuid"] for gpu in host.gpus().show()]


def test_the_agents_doctor_finds_nothing_wrong(host: Host) -> None:
    checks = host.agent("doctor")["checks"]
    assert {check["name"] for check in checks} >= {"policy", "driver", "fault gpu.power.cap"}
    wrong = {check["name"] for check in checks if check["ok"] is False}
    assert wrong <= {"triggers"}  # the sweep and the boot unit are installed by the tests that are about them


@pytest.mark.parametrize("fault", _FAULTS)
def test_a_fault_is_applied_and_undone(host: Host, fault: str) -> None:
    _apply(host, fault, f"plain-{fault}")
    [listed] = host.agent("list", {"verify": True})["leases"]
    assert (listed["state"], listed["verified"]) == ("active", True)
    [line] = host.agent("undo", {"lease": f"plain-{fault}"})["leases"]
    assert line["state"] == "clean"
    assert not _broken(host)
    wait_until(lambda: _agents(host) == [])


@pytest.mark.parametrize("fault", _FAULTS)
def test_a_host_that_is_cut_off_undoes_by_itself(host: Host, fault: str) -> None:
    lease, ttl_s = f"cut-{fault}", 6.0
    _apply(host, fault, lease, ttl_s)
    host.cut_network()
    try:
        wait_until(lambda: not _broken(host), ttl_s + _LATE_S)
    finally:
        host.restore_network()
    wait_until(lambda: _state(host, lease) == "clean")


@pytest.mark.parametrize("fault", _FAULTS)
def test_a_lease_outlives_the_ssh_session_that_made_it_and_no_longer_than_its_deadline(host: Host, fault: str) -> None:
    lease, ttl_s = f"session-{fault}", 6.0
    order = json.dumps({"protocol": 1, **_order(host, fault, lease, ttl_s)})
    done = host.run(["sudo", "--non-interactive", AGENT, "apply"], order, user="ops")
    assert json.loads(done.stdout)["state"] == "active", done
    applied = time.monotonic()
    host.disconnect()  # killed, not ended: the host finds out by itself
    time.sleep(1.0)
    assert _broken(host)
    wait_until(lambda: not _broken(host), ttl_s + _LATE_S - (time.monotonic() - applied))
    wait_until(lambda: _state(host, lease) == "clean")


def test_an_apply_whose_ssh_is_killed_leaves_nothing_after_its_deadline(host: Host) -> None:
    fault, ttl_s = "gpu.memory.fill", 6.0
    asking = []
    for number, after_s in enumerate((0.0, 0.1, 0.2, 0.3, 0.5, 1.5)):
        asked = host.start([AGENT, "apply"])
        assert asked.stdin is not None
        order = _order(host, fault, f"dead-{number}", ttl_s)
        order["run"] = "dead"
        order["params"]["gpu"] = host.gpus().show()[number % 2]["identity"]["uuid"]
        asked.stdin.write(json.dumps({"protocol": 1, **order}).encode())
        asked.stdin.close()
        asked.stdin = None
        asking.append(asked)
        time.sleep(after_s)
        asked.kill()
    for asked in asking:
        asked.communicate(timeout=10)
    # An apply that a busy host has only begun late has its deadline later: each lease is held to its own.
    wait_until(lambda: _agents(host) == [], 40.0)
    assert [gpu["memory_by_process"] for gpu in host.gpus().settings()] == [{}, {}]
    arrived = host.agent("list", {"run": "dead"})["leases"]
    assert {line["state"] for line in arrived} <= {"clean", "tombstone"}
    assert any(line["observed"] for line in arrived)  # at least one had the fault in force
    for line in [line for line in arrived if line["state"] == "clean"]:
        state = host.agent("record", {"lease": line["lease"]})["state"]
        assert state["history"][-1]["boottime_s"] <= state["deadline_s"] + _LATE_S, state


def test_a_lease_whose_agent_processes_are_all_killed_ends_in_time_if_the_host_sweeps(host: Host) -> None:
    ttl_s = 6.0
    _apply(host, "gpu.power.cap", "keeper", ttl_s)
    applied = time.monotonic()
    _kill_agents(host)
    host.agent("sweep")
    assert _broken(host)
    wait_until(lambda: not _broken(host), ttl_s + _LATE_S - (time.monotonic() - applied))
    wait_until(lambda: _state(host, "keeper") == "clean")


def test_with_every_trigger_gone_a_lease_stays_until_somebody_sweeps(host: Host) -> None:
    """The control for the test above: nothing but the agent's own triggers puts the host right."""
    ttl_s = 6.0
    _apply(host, "gpu.power.cap", "alone", ttl_s)
    host.run(["systemctl", "stop", "chaosgpu-*"])  # one may have gone with another
    _kill_agents(host)
    time.sleep(ttl_s + 1.0)
    assert _broken(host)
    host.agent("sweep")
    assert not _broken(host)


def test_after_a_reboot_the_gpu_is_as_before_and_the_old_lease_is_reverted(host: Host) -> None:
    before = host.gpus().settings()
    _apply(host, "gpu.power.cap", "boot-power")
    _apply(host, "gpu.memory.fill", "boot-memory")
    host.reboot()
    assert host.gpus().settings() == before
    swept = {line["lease"]: line for line in host.agent("sweep")["leases"]}
    assert {name: swept[name]["state"] for name in ("boot-power", "boot-memory")} == {
        "boot-power": "clean",
        "boot-memory": "clean",
    }
    assert "started anew" in swept["boot-power"]["reason"]


def test_a_setting_that_outlives_a_pulled_plug_is_swept_away(host: Host) -> None:
    """A real board's persistence daemon, or a script at boot, may set it again; the old lease still knows better."""
    _apply(host, "gpu.power.cap", "plug")
    host.kill()
    host.power_on()
    host.gpus().set(0, power_limit_mw=300_000)
    host.agent("sweep")
    assert _state(host, "plug") == "clean"
    assert not _broken(host)


def test_where_logind_kills_what_a_session_leaves_the_sweep_brings_the_host_back(other: Host) -> None:
    folder = "/etc/systemd/logind.conf.d"
    setting = f"mkdir -p {folder} && printf '[Login]\\nKillUserProcesses=yes\\n' > {folder}/kill.conf"
    other.run(["sh", "-c", setting], check=True)
    other.run(["systemctl", "restart", "systemd-logind"], check=True)
    try:
        ttl_s = 6.0
        order = json.dumps({"protocol": 1, **_order(other, "gpu.power.cap", "logind", ttl_s)})
        done = other.run(["sudo", "--non-interactive", AGENT, "apply"], order, user="ops")
        assert json.loads(done.stdout)["state"] == "active", done
        other.disconnect()
        time.sleep(ttl_s + 0.5)
        other.agent("sweep")
        assert _state(other, "logind") == "clean"
        assert not _broken(other)
    finally:
        other.run(["rm", f"{folder}/kill.conf"], check=True)
        other.run(["systemctl", "restart", "systemd-logind"], check=True)
