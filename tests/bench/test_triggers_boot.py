# SPDX-License-Identifier: Apache-2.0
"""The sweep timer and the boot unit on a real systemd host, each with the control that shows the host without it."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from bench.files import AGENT
from bench.hosts import Host
from bench.leases import apply, broken, kill_keeper, state, stop_timer, units
from bench.waiting import wait_until

_UNITS = "/etc/systemd/system"
# A site's own unit that sets at boot what was last set: it brings the fault back before we come.
_SITE = "[Unit]\\nAfter=simulated-gpus.service\\n[Service]\\nType=oneshot\\nExecStart=nvidia-smi -pl 300\\n"


def _install(host: Host) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(host.run([AGENT, "install-units", "--before", "site.service"]).stdout)
    return answer


def _triggers(host: Host) -> tuple[bool | None, str]:
    [found] = [check for check in host.agent("doctor")["checks"] if check["name"] == "triggers"]
    return found["ok"], found["detail"]


def _sh(host: Host, script: str) -> None:
    host.run(["sh", "-c", script], check=True)


@pytest.fixture
def swept(host: Host) -> Iterator[Host]:
    """Give a host the sweep and the boot unit; it sweeps every two seconds, to be quick here."""
    assert "written" in _install(host)
    folder = f"{_UNITS}/chaosgpu-sweep.timer.d"
    _sh(host, f"mkdir {folder}; printf '[Timer]\\nOnCalendar=\\nOnCalendar=*:*:0/2\\n' > {folder}/test.conf")
    _sh(host, "systemctl daemon-reload; systemctl restart chaosgpu-sweep.timer")
    yield host
    host.agent("undo", {"all": True})
    _sh(host, f"rm -r {folder}")
    assert "removed" in json.loads(host.run([AGENT, "remove-units"]).stdout)


@pytest.fixture
def relapsing(host: Host) -> Iterator[Host]:
    """Let the host set the power limit of the last drill again at boot."""
    drop_in = f"{_UNITS}/chaosgpu-recover.service.d"
    wanted = f"{_UNITS}/multi-user.target.wants/relapse.service"
    _sh(host, f"printf '{_SITE}' > {_UNITS}/relapse.service; ln -s {_UNITS}/relapse.service {wanted}")
    _sh(host, f"mkdir {drop_in}; printf '[Unit]\\nAfter=relapse.service\\n' > {drop_in}/site.conf")
    yield host
    _sh(host, f"rm -r {drop_in} {_UNITS}/relapse.service {wanted}; systemctl daemon-reload; nvidia-smi -pl 700")


def test_units_are_installed_once_found_by_the_doctor_and_removed(host: Host) -> None:
    host.run([AGENT, "remove-units"], check=True)  # whatever was played on this host before
    assert _triggers(host)[0] is False
    first, second = _install(host), _install(host)
    assert (first["backend"], len(first["written"]), second["written"]) == ("systemd", 3, [])
    assert _triggers(host)[0] is True
    verified = host.run(["systemd-analyze", "verify", *first["written"]])
    assert (verified.returncode, verified.stderr) == (0, "")
    host.run(["systemctl", "stop", "chaosgpu-sweep.timer"], check=True)
    ok, detail = _triggers(host)
    assert ok is None
    assert "the sweep" in detail
    apply(host, "open")
    refused = host.run([AGENT, "remove-units"])
    assert "open" in json.loads(refused.stdout)["error"]["message"]
    host.agent("undo", {"lease": "open"})
    removed = json.loads(host.run([AGENT, "remove-units"]).stdout)["removed"]
    assert sorted(removed) == sorted(first["written"])
    assert host.run(["systemctl", "list-unit-files", "chaosgpu-*", "--no-legend"]).stdout == ""
    assert _triggers(host)[0] is False


def _alone(host: Host, lease: str, ttl_s: float) -> None:
    """Make a lease that has lost its keeper and its timer, with the sweep held up meanwhile."""
    host.run(["systemctl", "stop", "chaosgpu-sweep.timer"], check=True)
    apply(host, lease, ttl_s=ttl_s)
    kill_keeper(host, lease)
    stop_timer(host, lease)


def test_the_sweep_timer_ends_a_lease_that_lost_keeper_and_timer(swept: Host) -> None:
    _alone(swept, "swept", 3.0)
    time.sleep(3.5)
    assert broken(swept)  # the control: without the sweep it stays
    swept.run(["systemctl", "start", "chaosgpu-sweep.timer"], check=True)
    wait_until(lambda: not broken(swept), 5.0)
    wait_until(lambda: state(swept, "swept")["state"] == "clean")
    assert state(swept, "swept")["ended_by"] == "deadline"


def test_the_sweep_gives_a_live_lease_its_keeper_and_timer_back_for_good(swept: Host) -> None:
    _alone(swept, "mended", 60.0)
    swept.run(["systemctl", "start", "chaosgpu-sweep.timer"], check=True)
    wait_until(lambda: units(swept, "mended").get("keep") == "active running")
    time.sleep(2.5)  # the sweep that started it has ended long since
    found = units(swept, "mended")
    assert (found["keep"], found["revert.timer"]) == ("active running", "active waiting")
    assert broken(swept)


def test_a_sweep_unit_has_failed_while_a_lease_is_stuck_and_is_well_again_afterwards(swept: Host) -> None:
    apply(swept, "stuck", ttl_s=60.0)
    undo = "/var/lib/chaosgpu/leases/stuck/undo"
    swept.run(["sh", "-c", f"cp {undo} /run/kept; printf x >> {undo}"], check=True)

    def failed() -> bool:
        return swept.run(["systemctl", "is-failed", "--quiet", "chaosgpu-sweep.service"]).returncode == 0

    wait_until(failed, 10.0)
    swept.run(["cp", "/run/kept", undo], check=True)
    swept.agent("undo", {"lease": "stuck"})
    assert state(swept, "stuck")["state"] == "clean"
    wait_until(lambda: not failed(), 10.0)


@pytest.mark.triton
def test_after_a_reboot_the_boot_unit_undoes_the_lease_before_triton_starts(swept: Host, relapsing: Host) -> None:
    host = swept
    assert host is relapsing
    _sh(host, "systemctl mask --quiet chaosgpu-sweep.timer; systemctl enable --quiet triton")
    try:
        apply(host, "boot", ttl_s=600)
        host.reboot()
        wait_until(lambda: not broken(host))
        ended = state(host, "boot")
        assert (ended["state"], ended["ended_by"]) == ("clean", "deadline")
        assert "started anew" in ended["reason"]
        wait_until(lambda: _start_us(host, "triton.service", "InactiveExitTimestampMonotonic"))
        undone_us = _start_us(host, "chaosgpu-recover.service", "InactiveEnterTimestampMonotonic")
        assert 0 < undone_us <= _start_us(host, "triton.service", "InactiveExitTimestampMonotonic")
        after = host.run(["systemctl", "show", "--property=After", "triton.service"]).stdout
        assert "chaosgpu-recover.service" in after.split("=")[1].split()
        said = host.run(["journalctl", "--boot", "--unit=chaosgpu-recover", "--output=cat"]).stdout
        assert "lease boot: active -> clean" in said
    finally:
        _sh(host, "systemctl disable --quiet --now triton; systemctl unmask --quiet chaosgpu-sweep.timer")
        _sh(host, "systemctl start chaosgpu-sweep.timer")


def test_without_the_boot_unit_the_lease_stays_after_a_reboot(relapsing: Host) -> None:
    """The control for the test above: nobody else would have put the host back."""
    apply(relapsing, "noboot", ttl_s=600)
    relapsing.reboot()
    relapsing.run(["systemctl", "is-system-running", "--wait"])
    assert broken(relapsing)
    assert relapsing.agent("record", {"lease": "noboot"})["state"]["state"] == "active"
    relapsing.agent("sweep")
    assert not broken(relapsing)


def _start_us(host: Host, unit: str, name: str) -> int:
    return int(host.run(["systemctl", "show", "--value", f"--property={name}", unit]).stdout)


def test_crons_file_undoes_after_a_reboot_what_nobody_else_would(host: Host) -> None:
    """As on a host without systemd's units: `test_without_the_boot_unit_…` above is the control."""
    written = json.loads(host.run([AGENT, "install-units", "--into", "/root"]).stdout)["written"]
    assert "/root/chaosgpu.cron" in written
    host.run(["mv", "/root/chaosgpu.cron", "/etc/cron.d/chaosgpu"], check=True)
    try:
        apply(host, "cron", ttl_s=600)
        host.reboot()
        wait_until(lambda: state(host, "cron")["state"] == "clean", 20.0)
        assert "started anew" in state(host, "cron")["reason"]
        assert not broken(host)
    finally:
        host.run(["rm", "/etc/cron.d/chaosgpu", *(path for path in written if "cron" not in path)])
