# SPDX-License-Identifier: Apache-2.0
"""What befalls a host while a lease is active: its network cut, PID 1 told to start over, the whole host suspended."""

import json
import subprocess
import time

import pytest

from bench.waiting import wait_until
from vm.leases import apply, late_s, order, ready, recorded, when_clean
from vm.noted import note
from vm.vm import Vm, agent_line

pytestmark = pytest.mark.timeout(900)


def _ssh(guest: Vm, command: str, within_s: float = 300.0) -> "subprocess.CompletedProcess[str]":
    words = guest.ssh(command, "-o", "ConnectTimeout=60", "-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3")
    return subprocess.run(words, capture_output=True, text=True, timeout=within_s, check=False)


def _ended_in_time(guest: Vm, lease: str, what: str) -> None:
    ended = when_clean(guest, lease)
    assert ended["ended_by"] == "deadline"
    note(f"clean after the deadline, {what}", late_s(ended))
    assert 0.0 <= late_s(ended) <= 5.0, late_s(ended)
    assert guest.power_limits()[0] == 700


@pytest.mark.parametrize("how", ["cable", "interface"])
def test_a_host_whose_network_is_cut_under_a_renewed_lease_undoes_by_itself(guest: Vm, how: str) -> None:
    ready(guest)
    asked = {**order(guest, "cut", ttl_s=60.0), "max_duration_s": 600.0}
    assert json.loads(_ssh(guest, agent_line("apply", asked)).stdout)["state"] == "active"
    renewed = _ssh(guest, agent_line("renew", {"run": "r", "ttl_s": 60.0}))
    assert "cut" in renewed.stdout, renewed
    holding = subprocess.Popen(guest.ssh("sleep 600", "-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=2"))
    try:
        if how == "cable":
            guest.monitor.ask("set_link", name="cable", up=False)
        else:
            guest.run("ip link set eth0 down")
        assert guest.power_limits()[0] == 300
        _ended_in_time(guest, "cut", "network cut")
        cut = _ssh(guest, "true", 120.0)
        assert cut.returncode == 255, cut  # a controller would know nothing of this host
        assert recorded(guest)["cut"]["deadline_s"] > recorded(guest)["cut"]["history"][0]["boottime_s"] + 60.0
    finally:
        holding.kill()
        holding.wait()
        guest.monitor.ask("set_link", name="cable", up=True)
        guest.run("ip link set eth0 up")
    assert _ssh(guest, "true").returncode == 0


def test_storms_of_daemon_reload_and_reexec_neither_end_a_lease_nor_keep_it(guest: Vm) -> None:
    ready(guest)
    storm = "for n in 1 2 3 4 5; do systemctl daemon-reload; done; systemctl daemon-reexec; systemctl daemon-reload"
    asks = [order(guest, "storm", ttl_s=40.0), order(guest, "storm-fill", "gpu.memory.fill", gpu=1, ttl_s=50.0)]
    look = "nvidia-smi -i 0 --query-gpu=power.limit --format=csv,noheader,nounits"
    script = "; ".join([*(f"{agent_line('apply', ask)} > /dev/null" for ask in asks), storm, look])
    assert guest.run(script).strip() == "300.00"  # in force after the storm, which was over before its deadline
    _ended_in_time(guest, "storm", "daemon-reload and re-exec")
    assert 0.0 <= late_s(when_clean(guest, "storm-fill")) <= 5.0


def test_a_lease_whose_deadline_passes_while_the_host_is_suspended_ends_when_it_wakes(guest: Vm) -> None:
    ready(guest)
    apply(guest, "asleep", ttl_s=30.0)
    guest.shell.tell("echo mem > /sys/power/state; cat /proc/uptime > /run/woke")
    wait_until(lambda: guest.monitor.ask("query-status")["status"] == "suspended", 120.0)
    wake_s = time.monotonic() + 40.0
    while time.monotonic() < wake_s:  # nothing in there runs but its clock, and QEMU moves that when it is asked
        guest.monitor.ask("query-status")
        time.sleep(0.05)
    guest.monitor.ask("system_wakeup")
    guest.answer_again()
    awake_s = float(guest.run("cat /run/woke").split()[0])
    ended = when_clean(guest, "asleep")
    assert ended["ended_by"] == "deadline"
    assert awake_s > float(ended["deadline_s"])  # it passed in the sleep
    late = float(ended["history"][-1]["boottime_s"]) - awake_s
    note("clean after waking from suspend", late)
    assert 0.0 <= late <= 5.0, late
    assert guest.power_limits()[0] == 700
