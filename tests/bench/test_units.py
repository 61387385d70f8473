# SPDX-License-Identifier: Apache-2.0
"""Faults of units on a real systemd: who ends them, who may interfere, and what is refused. Small services are hit."""

import json
from collections.abc import Iterator

import pytest

from bench.files import AGENT
from bench.hosts import Host
from bench.leases import kill_keeper, state
from bench.unit_cases import CASES
from bench.units import GROUP, apply, drop_ins, order, put, shown, take_away, undo
from bench.waiting import wait_until

FAULTS = tuple(case.fault for case in CASES)
LATE_S = 5.0
# How each is seen to be in force on a unit whose main process was {pid}, by the host's own shell.
SEEN = {
    "unit.stop": "! systemctl is-active --quiet {unit}",
    "unit.kill": "! test -e /proc/{pid}",
    "unit.freeze": "grep -qx 'frozen 1' {group}/{unit}/cgroup.events",
    "unit.gpu.deny": ("! sh -c 'echo $$ > {group}/{unit}/cgroup.procs; exec head -c1 /dev/nvidia0' >/dev/null 2>&1"),
    "unit.gpu.hide": (
        "tr '\\0' '\\n' < /proc/$(systemctl show -P MainPID {unit})/environ | grep -qx CUDA_VISIBLE_DEVICES=-1"
    ),
}
# The first look at which somebody who kills the agent may believe that it has begun.
BEGUN = {**SEEN, "unit.gpu.deny": "test -e {drop_in}", "unit.gpu.hide": "test -e {drop_in}"}


def _name(fault: str) -> str:
    return f"victim-{fault.replace('.', '-')}.service"


def _test(fault: str, text: str, pid: str, lease: str = "") -> str:
    unit = _name(fault)
    drop_in = f"/run/systemd/system/{unit}.d/zz-chaosgpu-{lease}.conf"
    return text.format(unit=unit, pid=pid, group=GROUP, drop_in=drop_in)


def _seen(host: Host, fault: str, pid: str) -> bool:
    return host.run(["sh", "-c", _test(fault, SEEN[fault], pid)]).returncode == 0


def _pid(host: Host, fault: str) -> str:
    return shown(host, _name(fault), "MainPID")[0]


@pytest.fixture
def victims(host: Host) -> Iterator[dict[str, str]]:
    """Start one service a fault; return the main process of each."""
    for fault in FAULTS:
        put(host, _name(fault))
    yield {fault: _pid(host, fault) for fault in FAULTS}
    host.agent("undo", {"all": True}, timeout_s=120)
    take_away(host, *map(_name, FAULTS))


def _all_well(host: Host) -> bool:
    states = [shown(host, _name(fault), "ActiveState", "FreezerState", "DevicePolicy") for fault in FAULTS]
    return states == [["active", "running", "auto"]] * len(FAULTS) and drop_ins(host) == []


def _wait_for_the_end(host: Host, leases: list[str], ended_by: str) -> None:
    wait_until(lambda: {state(host, lease)["state"] for lease in leases} == {"clean"}, 60.0)
    assert {lease: state(host, lease)["ended_by"] for lease in leases} == dict.fromkeys(leases, ended_by)


@pytest.mark.timeout(300)  # five faults, one after the other
def test_each_ends_at_its_deadline_by_its_timer_alone_and_a_daemon_reload_ends_none(
    host: Host, victims: dict[str, str]
) -> None:
    ttl_s = 60.0
    answers = {fault: apply(host, fault, _name(fault), ttl_s) for fault in FAULTS}
    for answer in answers.values():
        kill_keeper(host, answer["lease"])
    for _ in range(3):
        host.run(["systemctl", "daemon-reload"], check=True)
    assert [fault for fault in FAULTS if not _seen(host, fault, victims[fault])] == []
    wait_until(lambda: _all_well(host), ttl_s + LATE_S)
    _wait_for_the_end(host, [answer["lease"] for answer in answers.values()], "deadline")


@pytest.mark.timeout(300)
def test_an_agent_that_is_killed_while_it_applies_leaves_nothing(host: Host, victims: dict[str, str]) -> None:
    orders = {fault: order(fault, _name(fault)) for fault in FAULTS}
    for fault, ordered in orders.items():
        begun = _test(fault, BEGUN[fault], victims[fault], ordered["lease"])
        asked = json.dumps({"protocol": 1, **ordered})
        script = f"{AGENT} apply <&0 >/dev/null & until {begun}; do :; done; kill -KILL $!; wait $! 2>/dev/null; exit 0"
        host.run(["bash", "-c", script], asked, 60, check=True)
    _wait_for_the_end(host, [ordered["lease"] for ordered in orders.values()], "abandoned")
    assert _all_well(host)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("enabled", [True, False])
def test_after_a_reboot_the_boot_unit_brings_back_what_was_active(
    host: Host, victims: dict[str, str], *, enabled: bool
) -> None:
    if enabled:
        host.run(["systemctl", "enable", "--quiet", *map(_name, FAULTS)], check=True)
    before = [word for fault in FAULTS for word in ("--before", _name(fault))]
    host.run([AGENT, "install-units", *before], check=True)
    try:
        leases = [apply(host, fault, _name(fault), 600)["lease"] for fault in FAULTS]
        assert victims
        host.reboot()
        _wait_for_the_end(host, leases, "deadline")
        wait_until(lambda: _all_well(host), 30.0)
    finally:
        host.agent("undo", {"all": True}, timeout_s=120)
        host.run([AGENT, "remove-units"], check=True)


def test_only_one_fault_at_a_time_is_on_a_unit_by_whichever_name(host: Host) -> None:
    unit = put(host, "one.service")
    host.run(["sh", "-c", "ln -s one.service /etc/systemd/system/other.service; systemctl daemon-reload"], check=True)
    try:
        first = apply(host, "unit.freeze", "other.service")
        assert first["claims"] == [f"unit:{unit}"]
        for fault in FAULTS:
            answer = host.agent("apply", order(fault, unit), timeout_s=60)
            assert answer["error"]["kind"] == "claimed", answer
        assert undo(host, first)["state"] == "clean"
    finally:
        take_away(host, unit, "other.service")
