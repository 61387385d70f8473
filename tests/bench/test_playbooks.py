# SPDX-License-Identifier: Apache-2.0
"""Provision, snapshot, pin, verify, roll back on systemd hosts: twice, only looked at, killed, cut off, misused."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench import packages
from bench.files import AGENT
from bench.hosts import Bench, Host
from bench.leases import state
from bench.packages import APPLY_S, load_module, seen, version, wait_clean
from bench.playing import DRILL, Player
from bench.waiting import wait_until
from support.debs import FIRST, LATER, OLD

WANTED = {"nvidia-open": LATER, "nvidia-fabricmanager": LATER}
LEASE = f"lifecycle-{DRILL}-pin"
GUARD = "/etc/apt/preferences.d/00-chaosgpu"
DRIVER: dict[str, Any] = {"chaosgpu_drill": DRILL, "chaosgpu_packages": WANTED}

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture
def player(fleet: Bench, driver: Host, tmp_path: Path) -> Iterator[Player]:
    """Give what plays on the host with the old driver; its snapshots go afterwards."""
    yield Player(fleet, tmp_path)
    driver.agent("undo", {"all": True}, timeout_s=APPLY_S)
    driver.run(["rm", "-rf", "/var/lib/chaosgpu/lifecycle"], check=True)


def _on(host: Host) -> tuple[str, str]:
    return ("--limit", host.name)


def _kept(host: Host) -> str:
    return host.run(
        ["sh", "-c", "find /var/lib/chaosgpu /etc /run/chaosgpu -xdev -type f | sort | xargs md5sum"]
    ).stdout


def test_each_playbook_says_first_what_it_does_does_it_once_and_the_host_comes_back_without_the_mirror(
    player: Player, driver: Host
) -> None:
    before = seen(driver)
    kept = _kept(driver)
    looked = player.play("snapshot", "--check", "--diff", *_on(driver), **DRIVER)
    assert (looked.status, _kept(driver)) == (0, kept), looked.said
    taken = player.play("snapshot", "--diff", *_on(driver), **DRIVER)
    assert (taken.status, taken.diff, taken.changed(driver.name)) == (0, looked.diff, 1), taken.said
    assert looked.changed(driver.name) == 1
    assert f"+nvidia-open {OLD} -> {LATER}" in taken.diff
    assert player.play("snapshot", *_on(driver), **DRIVER).changed(driver.name) == 0
    assert seen(driver) == before

    kept = _kept(driver)
    looked = player.play("pin", "--check", "--diff", *_on(driver), **DRIVER)
    assert (looked.status, seen(driver), _kept(driver)) == (0, before, kept), looked.said
    pinned = player.play("pin", "--diff", *_on(driver), **DRIVER)
    assert (pinned.status, pinned.diff, pinned.changed(driver.name)) == (0, looked.diff, 1), pinned.said
    assert (looked.changed(driver.name), pinned.told(driver.name)["lease"]) == (1, LEASE)
    assert f"-nvidia-fabricmanager {OLD} hold" in pinned.diff
    assert f"+nvidia-fabricmanager {LATER} hold" in pinned.diff
    assert (version(driver, "nvidia-open"), version(driver, "libnvidia-gpucomp")) == (LATER, LATER)
    again = player.play("pin", *_on(driver), **DRIVER)
    assert (again.status, again.changed(driver.name)) == (0, 0), again.said

    for options in (("--check", "--diff"), ()):
        verified = player.play("verify", *options, *_on(driver), **DRIVER)
        assert (verified.status, verified.changed(driver.name), verified.diff) == (0, 0, []), verified.said
    moved = driver.run(["apt-get", "-q", "-y", "install", f"nvidia-fabricmanager={FIRST}"])
    assert moved.returncode == 100
    assert driver.run(["apt-get", "-q", "-y", "dist-upgrade"]).returncode == 0
    assert version(driver, "nvidia-fabricmanager") == LATER

    driver.run(["sh", "-c", f"rm -rf {packages.REPOSITORY} /var/lib/apt/lists /var/cache/apt/archives"], check=True)
    while_in, kept = seen(driver), _kept(driver)
    looked = player.play("rollback", "--check", "--diff", *_on(driver), **DRIVER)
    assert (looked.status, looked.changed(driver.name), seen(driver)) == (0, 1, while_in), looked.said
    assert _kept(driver) == kept
    back = player.play("rollback", "--diff", *_on(driver), **DRIVER)
    assert (back.status, back.changed(driver.name), back.diff) == (0, 1, looked.diff), back.said
    assert any(LATER in line for line in back.diff if line.startswith("-")), back.diff
    assert back.told(driver.name)["as_before"] is True
    assert seen(driver) == before
    for looking in (["--check"], []):
        again = player.play("rollback", "--diff", *looking, *_on(driver), **DRIVER)
        assert (again.status, again.changed(driver.name), again.diff) == (0, 0, []), again.said
    fit = player.play("verify", *_on(driver), **DRIVER, chaosgpu_against="snapshot")
    assert fit.status == 0, fit.said
    ended = player.play("pin", *_on(driver), **DRIVER)
    assert ended.status == 2
    assert ended.told(driver.name)["said"].startswith(f"The pin of drill {DRILL} is clean on this host (ended by undo)")


def test_packages_that_are_right_already_are_guarded_by_the_lease_alone_and_a_sites_own_guards_stay(
    player: Player, driver: Host
) -> None:
    before = seen(driver)
    right = {**DRIVER, "chaosgpu_packages": {"nvidia-open": OLD, "nvidia-utils": OLD}}
    assert player.play("snapshot", *_on(driver), **right).status == 0
    pinned = player.play("pin", *_on(driver), **right)
    assert (pinned.status, pinned.changed(driver.name)) == (0, 1), pinned.said
    assert driver.run(["apt-get", "-q", "-y", "install", f"nvidia-utils={LATER}"]).returncode == 100
    assert driver.run(["apt-get", "-q", "-y", "remove", "nvidia-utils"]).returncode == 100
    back = player.play("rollback", *_on(driver), **right)
    assert back.status == 0, back.said
    assert seen(driver) == before  # nvidia-open is on hold and pinned by the site, nvidia-utils is not


@pytest.mark.parametrize("when", ["in the change", "in force"])
def test_the_controller_is_killed_and_the_host_ends_the_pin_by_itself(player: Player, driver: Host, when: str) -> None:
    before = seen(driver)
    assert player.play("snapshot", *_on(driver), **DRIVER).status == 0
    if when == "in the change":
        driver.run(["sh", "-c", "rm -rf /run/at /run/gate; mkdir -p /run/gate; touch /run/gate/nvidia-utils.postinst"])
    child = player.start("pin", *_on(driver), **DRIVER, chaosgpu_within_s=120)
    reached = ["test", "-e", "/run/at/nvidia-utils.postinst" if when == "in the change" else GUARD]
    wait_until(lambda: driver.run(reached).returncode == 0, 200)
    if when == "in force":
        wait_until(lambda: state(driver, LEASE)["state"] == "active", 100)
    player.kill()
    child.communicate(timeout=30)
    driver.run(["rm", "-rf", "/run/gate", packages.REPOSITORY], check=True)
    ended = wait_clean(driver, LEASE, 200)
    assert (ended["state"], ended["left_alone"]) == ("clean", []), ended
    assert seen(driver) == before
    back = player.play("rollback", *_on(driver), **DRIVER)
    assert (back.status, back.changed(driver.name)) == (0, 0), back.said


def test_a_host_that_reboots_while_pinned_is_put_back_by_its_boot_unit(player: Player, driver: Host) -> None:
    before = seen(driver)
    driver.run([AGENT, "install-units"], check=True)
    try:
        assert player.play("snapshot", *_on(driver), **DRIVER).status == 0
        assert player.play("pin", *_on(driver), **DRIVER).status == 0
        driver.reboot()
        ended = wait_clean(driver, LEASE, 200)
        assert ended["state"] == "clean", ended
        back = player.play("rollback", *_on(driver), **DRIVER)
        assert (back.status, back.changed(driver.name)) == (0, 0), back.said
        assert seen(driver) == before
    finally:
        driver.agent("undo", {"all": True}, timeout_s=APPLY_S)
        driver.run([AGENT, "remove-units"], check=True)


def test_a_host_with_another_module_loaded_is_rebooted_only_where_that_is_allowed(player: Player, driver: Host) -> None:
    before = seen(driver)
    assert player.play("snapshot", *_on(driver), **DRIVER).status == 0
    assert player.play("pin", *_on(driver), **DRIVER).status == 0
    load_module(driver, "580.95.05")
    told = player.play("rollback", *_on(driver), **DRIVER)
    assert told.status == 2
    assert told.told(driver.name)["said"].startswith(f"The pin of drill {DRILL} is stuck: reboot needed:")
    allowed = {"chaosgpu_allow_reboot": True, "chaosgpu_boot_time_command": "stat -c %Y /proc/1"}
    driver.disconnect()
    back = player.play("rollback", *_on(driver), user="root", **DRIVER, **allowed)
    assert (back.status, back.told(driver.name)["as_before"]) == (0, True), back.said
    assert seen(driver) == before


def test_what_moved_past_the_guards_is_named_and_the_host_is_not_passed_over(player: Player, driver: Host) -> None:
    assert player.play("snapshot", *_on(driver), **DRIVER).status == 0
    assert player.play("pin", *_on(driver), **DRIVER).status == 0
    theirs = f"{packages.REPOSITORY}/nvidia-fabricmanager_{FIRST}_amd64.deb"
    driver.run(["dpkg", "-i", "--force-downgrade", theirs], check=True)
    unfit = player.play("verify", *_on(driver), **DRIVER)
    assert unfit.status == 2
    assert f"nvidia-fabricmanager is {FIRST}, and should be {LATER}" in unfit.told(driver.name)["said"]
    back = player.play("rollback", *_on(driver), **DRIVER)
    assert back.status == 2
    said = back.told(driver.name)["said"]
    assert said.startswith(f"The host is not as it was before drill {DRILL}: nvidia-fabricmanager is {FIRST}")


_LOCK = "import fcntl,time; f=open('/var/lib/dpkg/lock-frontend','w'); fcntl.lockf(f,fcntl.LOCK_EX); time.sleep(100)"
_BROKEN = {
    "unknown package": (
        [],
        {"chaosgpu_packages": {"nvidia-nothing": "1-1"}},
        "Unable to locate package nvidia-nothing",
    ),
    "unknown version": (
        [],
        {"chaosgpu_packages": {"nvidia-open": "590.1-1"}},
        "Version '590.1-1' for 'nvidia-open' was not",
    ),
    "gone from the mirror": (
        [f"rm {packages.REPOSITORY}/nvidia-utils_{LATER}_amd64.deb"],
        {},
        f"No package file could be had of nvidia-utils {LATER}",
    ),
    "broken dpkg": (
        ["sed -i '0,/install ok installed/s//install ok half-configured/' /var/lib/dpkg/status"],
        {},
        "dpkg has left work half-done on this host",
    ),
    "sudo": (["mv /etc/sudoers.d/chaosgpu /root/sudoers"], {}, "sudo does not let this user run the agent"),
    "no Python": (["mv /usr/bin/python3 /usr/bin/python3.away"], {}, "It needs a Python of 3.9 or later"),
    "locked": ([f'nohup python3 -c "{_LOCK}" >/dev/null 2>&1 & sleep 1'], {}, "dpkg is locked by process"),
}
_MENDED = """
[ ! -e /root/sudoers ] || mv /root/sudoers /etc/sudoers.d/chaosgpu
[ ! -e /usr/bin/python3.away ] || mv /usr/bin/python3.away /usr/bin/python3
sed -i 's/install ok half-configured/install ok installed/' /var/lib/dpkg/status
pkill -f "[l]ock-frontend"
true
"""


@pytest.mark.parametrize("what", _BROKEN)
def test_a_host_that_is_not_fit_says_why_in_one_sentence_and_the_other_is_done(
    player: Player, driver: Host, other: Host, debs: Path, what: str
) -> None:
    breaking, variables, sentence = _BROKEN[what]
    if what == "unknown package":  # one that no host has, so only the first is asked
        played = player.play("snapshot", *_on(driver), **{**DRIVER, **variables})
        assert played.status == 2
        assert sentence in played.told(driver.name)["said"]
        return
    packages.remove(other)
    packages.set_up(other, debs)
    try:
        for script in breaking:
            driver.run(["sh", "-c", script], check=True)
        played = player.play("snapshot", **{**DRIVER, **variables})
    finally:
        driver.run(["sh", "-c", _MENDED], check=True)
        other.run(["rm", "-rf", "/var/lib/chaosgpu/lifecycle"])
        packages.remove(other)
    assert played.status == 2, played.said
    assert sentence in played.told(driver.name)["said"], played.told(driver.name)
    assert played.told(other.name)["ok"] is (what != "unknown version"), played.said
    assert driver.run(["ls", "/var/lib/chaosgpu/lifecycle"]).stdout == ""


def test_a_host_that_is_down_is_unreachable_and_the_other_is_done(player: Player, driver: Host, other: Host) -> None:
    other.cut_network()
    try:
        played = player.play("snapshot", **DRIVER)
    finally:
        other.restore_network()
    assert played.status == 4, played.said
    assert "unreachable=1" in played.stdout
    assert (played.told(driver.name)["ok"], played.told(other.name)) == (True, {})


_POLICY = {"version": 1, "permit": ["gpu.*", "unit.*", "package.install"], "max_duration_s": 600}
_UNITS = ("chaosgpu-sweep.timer", "chaosgpu-recover.service")


def test_a_bare_host_is_provisioned_once_and_what_is_anothers_is_not_replaced(player: Player, driver: Host) -> None:
    driver.run(
        ["sh", "-c", f"cp {AGENT} /root/agent; cp /etc/chaosgpu/policy.json /root/; cp /etc/sudoers.d/chaosgpu /root/s"]
    )
    given: dict[str, Any] = {
        "chaosgpu_policy": _POLICY,
        "chaosgpu_sudo_user": "games",
        "chaosgpu_packages": WANTED,
        "chaosgpu_before_units": ["triton.service"],
        "chaosgpu_units": ["ssh.service"],
        "chaosgpu_triton": True,
        "chaosgpu_triton_unit": "triton-test.service",
        "chaosgpu_triton_command": ["/usr/bin/sleep", "1000"],
    }
    try:
        foreign = player.play("provision", *_on(driver), user="root", **given)
        assert foreign.status == 2, foreign.said
        assert "/etc/sudoers.d/chaosgpu is there and was not written by chaosgpu" in foreign.told(driver.name)["said"]
        driver.run(["rm", "/etc/sudoers.d/chaosgpu"], check=True)
        foreign = player.play("provision", *_on(driver), user="root", **given)
        assert foreign.status == 2, foreign.said
        assert "/etc/chaosgpu/policy.json is there and says something else" in foreign.told(driver.name)["said"]
        driver.run(["sh", "-c", f"rm -rf /etc/chaosgpu; echo >> {AGENT}"], check=True)
        kept = _kept(driver)
        looked = player.play("provision", "--check", "--diff", *_on(driver), user="root", **given)
        assert (looked.status, _kept(driver)) == (0, kept), looked.said
        assert "+games ALL=(root) TIMEOUT=1h NOPASSWD: /usr/libexec/chaosgpu/agent.pyz" in looked.diff
        done = player.play("provision", "--diff", *_on(driver), user="root", **given)
        assert (done.status, done.told(driver.name)["changed"]) == (0, True), done.said
        assert set(looked.diff) <= set(done.diff)
        assert json.loads(driver.run(["cat", "/etc/chaosgpu/policy.json"], check=True).stdout) == _POLICY
        for unit in (*_UNITS, "triton-test.service"):
            assert driver.run(["systemctl", "is-enabled", unit]).stdout.strip() == "enabled", unit
        assert driver.run(["systemctl", "is-active", "triton-test.service"]).stdout.strip() == "active"
        assert (version(driver, "nvidia-open"), version(driver, "nvidia-fabricmanager")) == (LATER, LATER)
        again = player.play("provision", *_on(driver), user="root", **given)
        assert (again.status, again.changed(driver.name)) == (0, 0), again.said
        looked = player.play("provision", "--check", *_on(driver), user="root", **given)
        assert (looked.status, looked.changed(driver.name)) == (0, 0), looked.said
        mean = {**given, "chaosgpu_policy": {**_POLICY, "permitt": []}}
        wrong = player.play("provision", *_on(driver), user="root", **mean)
        assert "permitt" in wrong.told(driver.name)["said"]
        assert wrong.changed(driver.name) == 0
        plain = player.play("provision", *_on(driver), "-e", "ansible_become=false", **given)
        assert "to provision a host takes root: set ansible_become" in plain.told(driver.name)["said"]
    finally:
        driver.run(["systemctl", "disable", "--now", "triton-test.service"])
        driver.run([AGENT, "remove-units"])
        restored = (
            "rm -f /etc/systemd/system/triton-test.service; mkdir -p /etc/chaosgpu; cp /root/s /etc/sudoers.d/chaosgpu"
        )
        driver.run(["sh", "-c", f"{restored}; cp /root/policy.json /etc/chaosgpu/; cp /root/agent {AGENT}"], check=True)


def test_an_agent_that_holds_a_lease_is_not_replaced(player: Player, driver: Host) -> None:
    packages.apply(driver, WANTED)
    driver.run(["sh", "-c", f"cp {AGENT} /root/agent; echo >> {AGENT}"], check=True)
    try:
        played = player.play("provision", *_on(driver), user="root")
        assert played.status == 2
        assert "so it is not replaced: undo that first" in played.told(driver.name)["said"]
    finally:
        driver.run(["cp", "/root/agent", AGENT], check=True)


def test_an_install_that_fails_is_put_back_and_the_next_one_goes_on(player: Player, driver: Host) -> None:
    before = seen(driver)
    script = f"mkdir -p /run/gate; touch /run/gate/fail.nvidia-utils.postinst.{LATER}"
    driver.run(["sh", "-c", script], check=True)
    played = player.play("provision", *_on(driver), user="root", chaosgpu_packages=WANTED)
    assert played.status == 2, played.said
    assert "apt did not get through with the change" in played.told(driver.name)["said"]
    assert "Everything was put back." in played.told(driver.name)["said"]
    assert seen(driver) == before
    driver.run(["rm", "-rf", "/run/gate"], check=True)
    played = player.play("provision", *_on(driver), user="root", chaosgpu_packages=WANTED)
    assert (played.status, version(driver, "nvidia-open")) == (0, LATER), played.said
