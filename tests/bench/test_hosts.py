# SPDX-License-Identifier: Apache-2.0
"""The hosts are what tests take them for: whole systemd machines, apart from each other, that can be cut and killed."""

import random
import subprocess
import time
from pathlib import Path

import pytest

from bench.hosts import Bench, Host
from bench.network import answers
from bench.plan import BenchFailed
from bench.waiting import wait_until
from chaosgpu.triton import api, canary

_LIST = ["nvidia-smi", "-L"]


def test_hosts_have_their_own_names_addresses_processes_and_networks(fleet: Bench) -> None:
    seen = [
        host.run(["sh", "-c", "hostname; ip -br -4 address show host0; readlink /proc/1/ns/net /proc/1/ns/pid"]).stdout
        for host in fleet.hosts
    ]
    here = Path("/proc/self/ns/net").readlink()
    for host, text in zip(fleet.hosts, seen, strict=True):
        assert host.name in text
        assert host.address in text
        assert str(here) not in text
    [lines, others] = [set(text.splitlines()) for text in seen]
    assert lines.isdisjoint(others)


def test_no_packet_can_leave_the_bench(fleet: Bench) -> None:
    assert fleet.hosts[0].run(["ip", "route", "show", "default"]).stdout == ""
    with fleet.inside():
        shown = subprocess.run(["ip", "-br", "address"], capture_output=True, text=True, check=True, timeout=10).stdout
    assert "eth0" not in shown
    assert fleet.plan.gateway in shown


def test_services_logins_and_sudo_all_find_the_simulated_gpus(host: Host) -> None:
    by_login = host.run(_LIST, check=True).stdout
    assert by_login.count("GPU-") == 2
    assert host.run(["systemd-run", "--quiet", "--wait", "--pipe", *_LIST], check=True).stdout == by_login
    assert host.run(_LIST, user="ops", check=True).stdout == by_login
    found = host.run(["ldconfig", "-p"], check=True).stdout
    assert "libnvidia-ml.so.1" in found
    assert "libcuda.so.1" in found


def test_no_two_hosts_have_the_same_gpu(fleet: Bench) -> None:
    uuids = [gpu["identity"]["uuid"] for host in fleet.hosts for gpu in host.gpus().show()]
    assert len(uuids) == len({*uuids}) == 4


def test_a_reboot_is_a_new_start_of_systemd(host: Host) -> None:
    before, kept = host.init(), host.run(["sh", "-c", "echo kept > /var/lib/mark; echo gone > /run/mark"])
    assert kept.returncode == 0
    host.reboot()
    assert host.init() != before
    assert host.run(["cat", "/var/lib/mark"]).stdout == "kept\n"
    assert host.run(["cat", "/run/mark"]).returncode == 1


def test_a_host_whose_plug_was_pulled_comes_back_when_it_is_plugged_in(fleet: Bench, other: Host) -> None:
    other.kill()
    assert not answers(fleet.plan, other.plan, 22, 0.3)
    assert fleet.hosts[0].run(["hostname"]).stdout == "gpu1\n"
    other.power_on()
    assert other.run(["systemctl", "is-system-running", "--wait"]).stdout == "running\n"


def test_a_host_that_turns_itself_off_stays_off_until_it_is_turned_on(other: Host) -> None:
    other.run(["systemctl", "poweroff"])
    wait_until(lambda: not other.plan.path("running.json").exists())
    with pytest.raises(BenchFailed, match="did not answer"):
        other.wait_for_ssh(60)
    other.power_on()
    assert other.run(["hostname"]).stdout == "gpu2\n"


def test_a_cut_host_is_not_reached_and_comes_back(host: Host, other: Host) -> None:
    host.cut_network()
    try:
        assert host.run(["true"], timeout_s=20).returncode == 255
        assert other.run(["true"]).returncode == 0
    finally:
        host.restore_network()
    assert host.run(["true"]).returncode == 0


def test_a_denied_device_cannot_be_opened(host: Host) -> None:
    command = ["systemd-run", "--quiet", "--wait", "--pipe", "--property=DevicePolicy=strict"]
    read = ["head", "--bytes=1", "/dev/nvidia0"]
    denied = host.run([*command, *read])
    assert denied.returncode != 0
    assert "Operation not permitted" in denied.stderr
    assert host.run([*command, "--property=DeviceAllow=/dev/nvidia0 rw", *read]).returncode == 0


def test_a_device_denied_to_a_running_unit_is_gone_for_it_and_comes_back(host: Host) -> None:
    probe = (
        "while sleep 0.02; do if head -c1 /dev/nvidia0; then echo yes; else echo no; fi >/run/next 2>/dev/null; "
        "mv /run/next /run/seen; done"
    )
    host.run(["systemd-run", "--unit=reader", "sh", "-c", probe], check=True)

    def sees(word: str) -> bool:
        return word in host.run(["cat", "/run/seen"]).stdout

    try:
        wait_until(lambda: sees("yes"))
        deny = ["systemctl", "set-property", "--runtime", "reader", "DevicePolicy=strict", "DeviceAllow=/dev/null rw"]
        host.run(deny, check=True)
        wait_until(lambda: sees("no"))
        host.run(["systemctl", "set-property", "--runtime", "reader", "DevicePolicy=auto", "DeviceAllow="], check=True)
        wait_until(lambda: sees("yes"))
    finally:
        host.run(["systemctl", "stop", "reader"])


def test_a_frozen_unit_stands_still_and_goes_on(host: Host) -> None:
    count = "n=0; while :; do n=$((n + 1)); echo $n > /run/count; sleep 0.01; done"
    host.run(["systemd-run", "--unit=counter", "sh", "-c", count], check=True)

    def counted() -> str:
        return host.run(["cat", "/run/count"]).stdout

    try:
        wait_until(counted)
        host.run(["systemctl", "freeze", "counter"], check=True)
        stopped_at = counted()
        time.sleep(0.3)
        assert counted() == stopped_at
        host.run(["systemctl", "thaw", "counter"], check=True)
        wait_until(lambda: counted() != stopped_at)
    finally:
        host.run(["systemctl", "stop", "counter"])


def test_a_transient_timer_fires(host: Host) -> None:
    timer = ["systemd-run", "--on-active=0.2", "--timer-property=AccuracySec=10ms", "touch", "/run/fired"]
    host.run(timer, check=True)
    wait_until(lambda: host.run(["test", "-e", "/run/fired"]).returncode == 0, 5)


@pytest.mark.triton
def test_the_real_triton_serves_from_the_hosts_own_gpu(fleet: Bench, host: Host) -> None:
    url = f"http://{host.address}:8000"
    host.run(["systemctl", "start", "triton"], check=True)
    try:
        wait_until(lambda: answers(fleet.plan, host.plan, 8000, 0.3), 30)
        with fleet.inside():
            wait_until(lambda: api.health(url, "/v2/models/chat/ready", 1.0), 30)
            golden = canary.learn(url, "chat", 5, 5.0)
            assert canary.ask(url, golden, 5.0, random.Random(1)).right
        names = [process["name"] for process in host.gpus().show()[0]["processes"]]
        assert any("triton" in name for name in names)
    finally:
        host.run(["systemctl", "stop", "triton"], check=True)
    assert host.gpus().show()[0]["processes"] == []
