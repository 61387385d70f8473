# SPDX-License-Identifier: Apache-2.0
"""Hardened hosts: nothing runs from a temporary folder, OpenSSL has FIPS algorithms alone. All works there."""

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
from support.needing import say

WANTED = {"nvidia-open": LATER, "nvidia-fabricmanager": LATER}
_DRIVER: dict[str, Any] = {"chaosgpu_drill": DRILL, "chaosgpu_packages": WANTED}
_POLICY = {"version": 1, "permit": ["gpu.*", "unit.*", "package.install"], "max_duration_s": 600}
# What Python says of a digest that OpenSSL has to make, and of one that is not to guard anything.
_MD5 = """
import _hashlib
try:
    _hashlib.openssl_md5(b"")
except ValueError as error:
    print(error)
print(_hashlib.openssl_md5(b"", usedforsecurity=False).hexdigest()[:6])
"""

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def noexec(host: Host) -> Iterator[Host]:
    with hardening.noexec(host):
        yield host
        host.agent("undo", {"all": True}, timeout_s=APPLY_S)


@pytest.fixture
def fips(host: Host, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """Limit the host, and whatever is started here, to FIPS algorithms."""
    found = hardening.provider(say)
    with hardening.fips(host, found):
        for name, value in found.environment.items():
            monkeypatch.setenv(name, value)
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


def test_the_control_openssl_refuses_md5_for_anything_that_guards(fips: Host) -> None:
    said = sh(fips, f"python3 -c '{_MD5}'").splitlines()
    assert ("unsupported" in said[0], said[-1]) == (True, "d41d8c"), said


def test_faults_and_packages_go_there_and_back_with_fips_algorithms_alone_here_and_there(
    player: Player, driver: Host, fips: Host
) -> None:
    assert fips is driver
    apply(driver, "capped")
    driver.agent("undo", {"lease": "capped"})
    wait_until(lambda: not broken(driver))
    _whole_way(player, driver)


_CONTEXT = "system_u:object_r:modules_conf_t:s0"
_SITE = "/etc/modprobe.d/site.conf"
# As the way back does it: kept before the change, put back after it.
_KEPT_AND_PUT_BACK = f"""
from pathlib import Path
from chaosgpu.agent.packages.files import managed
from chaosgpu.agent.packages.saved import keep, put_back
from chaosgpu.agent.packages.tools import Tools
tools, place = Tools(), Path("/var/lib/kept")
kept = keep(tools, place, {{"{_SITE}": managed(tools)["{_SITE}"]}})
Path("{_SITE}").unlink()
put_back(tools, place, "{_SITE}", kept)
"""


def test_a_file_of_etc_that_is_put_back_has_its_selinux_label(host: Host) -> None:
    sh(host, f"echo options nvidia > {_SITE}")
    hardening.labelled(host, _SITE, _CONTEXT)
    try:
        sh(host, f"cp {_SITE} /root/copy")
        assert hardening.label(host, "/root/copy") == ""  # the control: who replaces a file by a copy loses it
        host.run(["env", f"PYTHONPATH={AGENT}", "python3", "-c", _KEPT_AND_PUT_BACK], check=True)
        assert (sh(host, f"cat {_SITE}"), hardening.label(host, _SITE)) == ("options nvidia\n", _CONTEXT)
    finally:
        sh(host, f"rm -rf {_SITE} /root/copy /var/lib/kept")
