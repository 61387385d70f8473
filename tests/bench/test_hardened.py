# SPDX-License-Identifier: Apache-2.0
"""Hardened hosts: nothing runs from a temporary folder. All works there."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench import hardening
from bench.cuda_units import beside, codes, preload, sh
from bench.files import AGENT
from bench.hosts import Bench, Host
from bench.leases import apply, broken, state
from bench.packages import APPLY_S, seen, version
from bench.playing import DRILL, Player
from bench.waiting import wait_until
from chaosgpu.agent.shim.library import Library
from support.debs import LATER, OLD

WANTED = {"nvidia-open": LATER, "nvidia-fabricmanager": LATER}
_DRIVER: dict[str, Any] = {"chaosgpu_drill": DRILL, "chaosgpu_packages": WANTED}
_POLICY = {"version": 1, "permit": ["gpu.*", "unit.*", "package.install"], "max_duration_s": 600}

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def noexec(host: Host) -> Iterator[Host]:
    with hardening.noexec(host):
        yield host
        host.agent("undo", {"all": True}, timeout_s=APPLY_S)


@pytest.fixture
def player(fleet: Bench, driver: Host, tmp_path: Path) -> Iterator[Player]:
    yield Player(fleet, tmp_path)
    driver.agent("undo", {"all": True}, timeout_s=APPLY_S)
    driver.run(["rm", "-rf", "/var/lib/chaosgpu/lifecycle"], check=True)


def _whole_way(player: Player, host: Host) -> None:
    """Snapshot, pin, verify and roll back over SSH and sudo; the host is as it was."""
    before = seen(host)
    for name in ("snapshot", "pin", "verify"):
        played = player.play(name, "--limit", host.name, **_DRIVER)
        assert played.status == 0, played.said
    assert version(host, "nvidia-open") == LATER
    played = player.play("rollback", "--limit", host.name, **_DRIVER)
    assert (played.status, version(host, "nvidia-open")) == (0, OLD), played.said
    assert seen(host) == before


def test_the_control_nothing_runs_from_these_folders(noexec: Host) -> None:
    for folder in hardening.FOLDERS:
        ran = noexec.run(["sh", "-c", f"cp /bin/true {folder}/t; {folder}/t; status=$?; rm {folder}/t; exit $status"])
        assert ran.returncode == 126, folder


def test_packages_go_there_and_back_over_ansible_where_nothing_runs_from_temporary_folders(
    player: Player, driver: Host
) -> None:
    with hardening.noexec(driver):
        _whole_way(player, driver)


def test_a_host_is_provisioned_where_nothing_runs_from_temporary_folders(player: Player, driver: Host) -> None:
    kept = f"cp -a {AGENT} /root/agent; cp -a /etc/chaosgpu/policy.json /root/p; mv /etc/sudoers.d/chaosgpu /root/s"
    driver.run(["sh", "-c", f"{kept}; rm -rf /etc/chaosgpu; echo >> {AGENT}"], check=True)
    given: dict[str, Any] = {"chaosgpu_policy": _POLICY, "chaosgpu_sudo_user": "games"}
    try:
        with hardening.noexec(driver):
            done = player.play("provision", "--limit", driver.name, user="root", **given)
            assert (done.status, done.told(driver.name)["changed"]) == (0, True), done.said
            again = player.play("provision", "--limit", driver.name, user="root", **given)
            assert (again.status, again.changed(driver.name)) == (0, 0), again.said
    finally:
        back = f"cp -a /root/agent {AGENT}; cp -a /root/p /etc/chaosgpu/policy.json; mv /root/s /etc/sudoers.d/chaosgpu"
        driver.run(["sh", "-c", f"{back}; {AGENT} remove-units"], check=True)


def test_a_fault_with_a_holder_ends_where_nothing_runs_from_temporary_folders(noexec: Host) -> None:
    apply(noexec, "held", fault="gpu.memory.fill")
    noexec.agent("undo", {"lease": "held"})
    assert state(noexec, "held")["state"] == "clean"
    assert not broken(noexec)


def test_a_library_is_copied_from_where_nothing_runs_and_refused_where_it_would_be_copied_to(
    noexec: Host, shim: Library
) -> None:
    good, there, place = preload(noexec, shim), f"{hardening.FOLDERS[1]}/errors.so", "/var/lib/chaosgpu/shim"
    sh(noexec, f"cp {good['path']} {there}; chmod 644 {there}; mkdir -p {place}")
    with beside(noexec) as name:
        params = {"unit": name, "code": 700, "calls": ["alloc"], "settle_s": 0, "library": {**good, "path": there}}
        order = {"fault": "unit.cuda.errors", "params": params, "run": "r", "ttl_s": 60, "max_duration_s": 60}
        with hardening.noexec(noexec, (place,)):
            bad = noexec.agent("apply", {**order, "lease": "bad"}, timeout_s=90)
            assert f"{place} is on a file system that is mounted noexec" in bad["error"]["message"], bad
        fine = noexec.agent("apply", {**order, "lease": "fine"}, timeout_s=90)
        assert fine.get("state") == "active", fine
        wait_until(lambda: set(codes(noexec, "cuda-user")) == {"700"}, 20)
