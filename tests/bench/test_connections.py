# SPDX-License-Identifier: Apache-2.0
"""Connections and systemd itself fail while a lease is made, active or undone: the host still ends it, and in time."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bench.controllers import residue
from bench.files import AGENT
from bench.hosts import Bench, Host
from bench.leases import apply, ask_apart, broken, order, state, units
from bench.waiting import wait_until

_LATE_S = 5.0


def _late_s(host: Host, lease: str) -> float:
    ended = state(host, lease)
    assert ended["state"] == "clean", ended
    return float(ended["history"][-1]["boottime_s"]) - float(ended["deadline_s"])


@pytest.mark.parametrize("asked_again", [True, False])
def test_an_apply_whose_reply_is_lost_is_no_lost_lease(host: Host, *, asked_again: bool) -> None:
    request = order(host, f"unheard-{asked_again}", 8.0 if not asked_again else 60.0)
    asking = ask_apart(host, "apply", request)
    wait_until(lambda: broken(host))
    asking.kill()  # nobody has read the answer, and nobody can any more
    asking.communicate()
    lease = str(request["lease"])
    wait_until(lambda: state(host, lease)["state"] == "active")
    if asked_again:
        again = host.agent("apply", request)
        assert (again["state"], again["lease"]) == ("active", lease)
        assert len(host.agent("list")["leases"]) == 1
        [undone] = host.agent("undo", {"lease": lease})["leases"]
        assert undone["state"] == "clean"
        assert "never applied again" in host.agent("apply", request)["error"]["message"]
    wait_until(lambda: not broken(host), 8.0 + _LATE_S)
    wait_until(lambda: residue(host) == [])


def test_a_lease_that_is_renewed_over_ssh_ends_in_time_once_the_network_is_cut(host: Host) -> None:
    apply(host, "renewed", ttl_s=5.0, max_duration_s=120, fault="gpu.memory.fill")
    made = time.monotonic()
    while time.monotonic() < made + 6.0:
        host.agent("renew", {"leases": ["renewed"], "ttl_s": 5.0})
        time.sleep(0.5)
    assert broken(host)  # renewal is what has kept it so long
    host.cut_network()
    try:
        wait_until(lambda: not broken(host), 5.0 + _LATE_S)
    finally:
        host.restore_network()
    wait_until(lambda: residue(host) == [])
    assert _late_s(host, "renewed") <= _LATE_S


def test_of_two_applies_at_once_one_has_the_claim_and_on_two_claims_both(host: Host) -> None:
    asking = [ask_apart(host, "apply", order(host, f"both-{n}", 60.0, gpu=gpu)) for n, gpu in enumerate((0, 0, 1))]
    said = [json.loads(asked.communicate(timeout=30)[0]) for asked in asking]
    assert said[2]["state"] == "active"
    assert sorted(answer.get("state", "refused") for answer in said[:2]) == ["active", "refused"]
    [lost] = [answer["error"]["kind"] for answer in said[:2] if "error" in answer]
    assert lost == "claimed"
    host.agent("undo", {"all": True})
    wait_until(lambda: residue(host) == [])


@contextmanager
def _storm(host: Host, what: str) -> Iterator[None]:
    """Let systemd read all its units, or start itself anew, again and again."""
    again = f"while [ -e /run/storm ]; do systemctl {what}; date +%s%N > /run/stormed; sleep 0.05; done"
    script = f"touch /run/storm; {again}"
    host.run(["systemd-run", "--quiet", "--unit=storm", "sh", "-c", script], check=True)
    try:
        wait_until(lambda: host.run(["test", "-e", "/run/stormed"]).returncode == 0)
        yield
    finally:
        # Not `systemctl stop`: in the storm it may not be heard, and the storm would go on in every later test.
        host.run(["rm", "-f", "/run/storm"], check=True)
        wait_until(lambda: _is_calm(host))
        host.run(["rm", "-f", "/run/stormed"], check=True)


def _is_calm(host: Host) -> bool:
    """Tell whether the storm has ended and systemd is back on the bus."""
    calm = host.run(["systemctl", "is-active", "--quiet", "storm"]).returncode != 0
    return calm and host.run(["busctl", "status", "org.freedesktop.systemd1"]).returncode == 0


def _apply_once_heard(host: Host, lease: str, ttl_s: float, fault: str = "gpu.power.cap") -> str:
    """Put a fault in under the first id that systemd hears; one that it does not hear is refused, nothing touched."""
    for attempt in range(10):
        answer = host.agent("apply", order(host, f"{lease}-{attempt}", ttl_s, fault))
        if answer.get("state") == "active":
            assert broken(host)
            return f"{lease}-{attempt}"
        assert answer["error"]["kind"] == "refused", answer
        assert "nothing was touched" in answer["error"]["message"]
        assert not broken(host)
    raise AssertionError(answer)


@pytest.mark.parametrize("what", ["daemon-reload", "daemon-reexec"])
def test_a_storm_of_reloads_during_apply_active_and_undo_changes_nothing(host: Host, what: str) -> None:
    with _storm(host, what):
        held = _apply_once_heard(host, what, 60.0, "gpu.memory.fill")
        time.sleep(1.0)
        assert state(host, held)["state"] == "active"  # no reload ends it early
        [undone] = host.agent("undo", {"lease": held})["leases"]
        assert undone["state"] == "clean"
        late = _apply_once_heard(host, f"late-{what}", 8.0)
        wait_until(lambda: not broken(host), 8.0 + _LATE_S)
        wait_until(lambda: state(host, late)["state"] == "clean")
        assert 0 <= _late_s(host, late) <= _LATE_S
    wait_until(lambda: residue(host) == [])
    assert host.run(["systemctl", "list-units", "--failed", "--quiet", "chaosgpu-*"]).stdout == ""


def test_while_the_bus_stands_still_an_undo_is_clean_and_its_units_go(host: Host) -> None:
    apply(host, "nobus", fault="gpu.memory.fill")
    host.run(["pkill", "--signal", "STOP", "dbus-daemon"], check=True)
    try:
        assert host.run(["timeout", "1", "busctl", "status", "org.freedesktop.login1"]).returncode == 124
        [undone] = host.agent("undo", {"lease": "nobus"})["leases"]
        assert undone["state"] == "clean"
        assert not broken(host)
        wait_until(lambda: units(host, "nobus") == {})
    finally:
        host.run(["pkill", "--signal", "CONT", "dbus-daemon"], check=True)


@contextmanager
def _stopped_systemd(host: Host) -> Iterator[None]:
    """Stop the host's PID 1, which on this machine is a process like another; nobody on the host itself could."""
    init = host.init()
    os.kill(init, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(init, signal.SIGCONT)


def test_while_systemd_stands_still_what_is_active_is_undone_and_ends_in_time_and_nothing_begins(
    host: Host,
) -> None:
    apply(host, "undone", ttl_s=25.0)
    apply(host, "expires", ttl_s=8.0, fault="gpu.memory.fill", gpu=1)
    with _stopped_systemd(host):
        [undone] = host.agent("undo", {"lease": "undone"})["leases"]
        assert undone["state"] == "clean"
        assert not broken(host)
        wait_until(lambda: not broken(host, 1), 8.0 + _LATE_S)
        refused = host.agent("apply", order(host, "refused", 30.0))
        assert "did not answer within 5 s" in refused["error"]["message"]
        assert not broken(host)
    # Its timer could not be taken away: it goes when it is due, finds the lease over, and does nothing.
    wait_until(lambda: residue(host) == [], 25.0 + _LATE_S)
    assert _late_s(host, "expires") <= _LATE_S


def test_a_file_or_a_command_halts_a_host_without_network_within_two_seconds(host: Host) -> None:
    root = f"/proc/{host.init()}/root"
    on_the_host = ["nsenter", f"--target={host.init()}", "--all", "--", AGENT, "halt"]  # its console
    for by in ("command", "file"):
        for gpu, fault in ((0, "gpu.power.cap"), (1, "gpu.memory.fill")):
            apply(host, f"halted-{by}-{gpu}", fault=fault, gpu=gpu)
        host.cut_network()
        try:
            began = time.monotonic()
            if by == "file":
                os.close(os.open(f"{root}/run/chaosgpu/HALT", os.O_CREAT | os.O_WRONLY))
            else:
                said = b'{"protocol": 1, "by": "ann", "reason": "pager"}'
                subprocess.run(on_the_host, input=said, check=True, capture_output=True, timeout=20)
            wait_until(lambda: not broken(host) and not broken(host, 1))
            assert time.monotonic() - began <= 2.0
        finally:
            host.restore_network()
        refused = host.agent("apply", order(host, f"after-{by}", 30.0))
        assert refused["error"]["kind"] == "halted"
        host.agent("resume", {"by": "ann", "reason": "settled"})
        wait_until(lambda: residue(host) == [])


def test_eight_hosts_halted_at_once_are_clean_within_five_seconds(eight: tuple[Bench, float]) -> None:
    """Asked in parallel as a controller asks them; eight simulated hosts share the cores of one machine."""
    hosts = eight[0].hosts
    for one in hosts:
        apply(one, "fleet-power")
        apply(one, "fleet-memory", fault="gpu.memory.fill", gpu=1)
    began = time.monotonic()
    asking = [ask_apart(one, "halt", {"by": "ann", "reason": "pager"}) for one in hosts]
    for one in hosts:
        wait_until(lambda: not broken(one) and not broken(one, 1))  # noqa: B023 (called at once)
    took_s = time.monotonic() - began
    for asked in asking:
        answer = json.loads(asked.communicate(timeout=30)[0])
        assert {line["state"] for line in answer["leases"]} <= {"clean"}  # the keepers may have been quicker
    assert took_s <= 5.0
