# SPDX-License-Identifier: Apache-2.0
"""Driver packages on a real systemd host with its real apt and dpkg: guards, the fault, kills, reboots."""

import pytest

from bench import packages
from bench.files import AGENT
from bench.hosts import Host
from bench.leases import state
from bench.packages import (
    APPLY_S,
    Gate,
    apply,
    apply_and_kill,
    ask,
    load_module,
    order,
    seen,
    version,
    wait_clean,
)
from support.debs import FIRST, LATER, NAMES, OLD

WANTED = {"nvidia-open": LATER, "nvidia-fabricmanager": LATER}
OLDS = {name: OLD for name in NAMES if name != "libnvidia-gpucomp"}
# Each script that dpkg can be caught in, and what it leaves when it is killed there.
GATES = (
    (Gate("nvidia-utils", "prerm"), "all"),
    (Gate("nvidia-utils", "preinst"), "all"),
    (Gate("nvidia-utils", "postrm"), "dpkg"),
    (Gate("nvidia-kernel-open", "postinst"), "all"),
    (Gate("nvidia-kernel-open", "postrm"), "all"),  # what it has unpacked is there, and nobody owns it
    (Gate("libnvidia-gpucomp", "preinst"), "apt"),
    (Gate("nvidia-open", "postinst"), "agent"),
)

pytestmark = pytest.mark.timeout(300)


def test_pin_and_hold_together_stop_what_each_alone_lets_pass_and_dpkg_i_is_found_afterwards(driver: Host) -> None:
    assert ask(driver, "guard", {"packages": OLDS}) == {"gaps": []}
    apt = ["apt-get", "-q", "-y"]
    assert driver.run([*apt, "dist-upgrade"]).returncode == 0
    assert driver.run([*apt, "install", f"nvidia-fabricmanager={LATER}"]).returncode == 100
    assert driver.run([*apt, "remove", "nvidia-utils"]).returncode == 100
    assert ask(driver, "gaps", {"packages": OLDS}) == {"gaps": []}
    driver.run(["dpkg", "-i", f"{packages.REPOSITORY}/nvidia-fabricmanager_{LATER}_amd64.deb"], check=True)
    found = ask(driver, "gaps", {"packages": OLDS})["gaps"]
    assert found == [f"nvidia-fabricmanager is {LATER}, and should be {OLD}", "nvidia-fabricmanager is not held"]


def test_a_plan_tells_what_the_change_then_does_and_touches_nothing(driver: Host) -> None:
    before = seen(driver)
    planned = ask(driver, "plan", {"packages": WANTED})
    assert seen(driver) == before
    answer = apply(driver, WANTED)
    assert {key: answer["observed"][key] for key in planned} == planned
    assert (version(driver, "nvidia-open"), version(driver, "libnvidia-gpucomp")) == (LATER, LATER)
    [line] = driver.agent("undo", {"lease": answer["lease"]}, timeout_s=APPLY_S)["leases"]
    assert (line["state"], line["left_alone"]) == ("clean", []), line
    assert seen(driver) == before


def test_a_held_and_pinned_driver_is_changed_and_comes_back_with_its_guards_though_the_mirror_is_gone(
    driver: Host,
) -> None:
    ask(driver, "guard", {"packages": OLDS})
    before = seen(driver)
    answer = apply(driver, WANTED)
    driver.run(["sh", "-c", f"rm -rf {packages.REPOSITORY} /var/lib/apt/lists /var/cache/apt/archives"], check=True)
    [line] = driver.agent("undo", {"lease": answer["lease"]}, timeout_s=APPLY_S)["leases"]
    assert (line["state"], line["left_alone"]) == ("clean", []), line
    assert seen(driver) == before
    [again] = driver.agent("undo", {"lease": answer["lease"]}, timeout_s=APPLY_S)["leases"]
    assert again["state"] == "clean"


def test_the_usual_order_without_staged_files_has_no_way_back_once_the_mirror_is_gone(driver: Host) -> None:
    """The control: upgrade first, and look for the old package files when they are needed."""
    force = [
        "apt-get",
        "-q",
        "-y",
        "-o",
        "DPkg::Options::=--force-confold",
        "--allow-change-held-packages",
        "--allow-downgrades",
    ]
    named = ("nvidia-open", "libnvidia-compute", "nvidia-kernel-open", "nvidia-utils")
    driver.run([*force, "install", *(f"{name}={LATER}" for name in named)], timeout_s=60, check=True)
    driver.run(["sh", "-c", f"rm -rf {packages.REPOSITORY} /var/cache/apt/archives/*.deb"], check=True)
    assert driver.run([*force, "install", *(f"{name}={OLD}" for name in named)], timeout_s=60).returncode != 0
    assert version(driver, "nvidia-open") == LATER


def test_the_host_ends_it_at_its_deadline_by_itself(driver: Host) -> None:
    before = seen(driver)
    answer = apply(driver, WANTED, ttl_s=40)
    ended = wait_clean(driver, answer["lease"])
    assert (ended["state"], ended["ended_by"]) == ("clean", "deadline"), ended
    assert seen(driver) == before


@pytest.mark.parametrize(("gate", "who"), GATES, ids=[f"{gate}-{who}" for gate, who in GATES])
def test_killed_in_any_state_of_dpkg_the_host_puts_itself_back_without_the_mirror(
    driver: Host, gate: Gate, who: str
) -> None:
    before = seen(driver)
    ordered = order(WANTED)
    states = apply_and_kill(driver, ordered, gate, who)
    driver.run(["rm", "-rf", packages.REPOSITORY], check=True)
    ended = wait_clean(driver, ordered["lease"])
    assert states, "no package was left half-done, so nothing was proved"
    assert ended["state"] == "clean", ended
    assert seen(driver) == before


def test_a_change_whose_script_fails_is_undone_at_once(driver: Host) -> None:
    before = seen(driver)
    driver.run(["sh", "-c", f"mkdir -p /run/gate; touch /run/gate/fail.nvidia-utils.postinst.{LATER}"], check=True)
    answer = driver.agent("apply", order(WANTED), timeout_s=APPLY_S)
    assert "apt did not get through with the change" in answer["error"]["message"]
    assert "Its undo is" not in answer["error"]["message"]
    assert seen(driver) == before


def test_after_a_reboot_while_it_is_in_force_the_boot_unit_brings_everything_back(driver: Host) -> None:
    before = seen(driver)
    driver.run([AGENT, "install-units"], check=True)
    try:
        answer = apply(driver, WANTED)
        driver.run(["rm", "-rf", packages.REPOSITORY], check=True)
        driver.reboot()
        ended = wait_clean(driver, answer["lease"])
        assert (ended["state"], ended["ended_by"]) == ("clean", "deadline"), ended
        assert seen(driver) == before
    finally:
        driver.agent("undo", {"all": True}, timeout_s=APPLY_S)
        driver.run([AGENT, "remove-units"], check=True)


def test_another_module_that_is_loaded_is_told_as_reboot_needed_and_never_as_clean(driver: Host) -> None:
    load_module(driver, "570.172.08")
    answer = apply(driver, WANTED)
    assert answer["observed"]["module"] == "570.172.08"
    load_module(driver, "580.95.05")  # as after a reboot
    [line] = driver.agent("undo", {"lease": answer["lease"]}, timeout_s=APPLY_S)["leases"]
    assert line["state"] == "stuck"
    assert line["reason"].startswith("reboot needed: the kernel module that runs is 580.95.05")
    assert version(driver, "nvidia-open") == OLD
    load_module(driver, "570.172.08")
    [line] = driver.agent("undo", {"lease": answer["lease"]}, timeout_s=APPLY_S)["leases"]
    assert line["state"] == "clean", line


def test_what_somebody_brought_to_a_third_version_is_left_alone_and_named(driver: Host) -> None:
    answer = apply(driver, WANTED)
    theirs = f"{packages.REPOSITORY}/nvidia-fabricmanager_{FIRST}_amd64.deb"
    driver.run(["dpkg", "-i", "--force-downgrade", theirs], check=True)
    [line] = driver.agent("undo", {"lease": answer["lease"]}, timeout_s=APPLY_S)["leases"]
    assert line["state"] == "clean", line
    assert line["left_alone"][0].startswith(f"nvidia-fabricmanager is {FIRST}")
    assert (version(driver, "nvidia-fabricmanager"), version(driver, "nvidia-open")) == (FIRST, OLD)


def test_a_lock_that_somebody_holds_is_waited_for(driver: Host) -> None:
    before = seen(driver)
    answer = apply(driver, WANTED)
    lock = "import fcntl,time; f=open('/var/lib/dpkg/lock-frontend','w'); fcntl.lockf(f,fcntl.LOCK_EX); time.sleep(4)"
    held = driver.start(["python3", "-c", lock])
    driver.run(["sleep", "1"])
    refused = driver.run(["dpkg", "--configure", "-a"])
    assert "lock" in refused.stderr  # the control: it is held
    [line] = driver.agent("undo", {"lease": answer["lease"]}, timeout_s=APPLY_S)["leases"]
    held.communicate(timeout=20)
    assert line["state"] == "clean", line
    assert seen(driver) == before


def test_what_cannot_be_put_back_or_makes_no_difference_is_refused(driver: Host) -> None:
    before = seen(driver)
    none = driver.agent("apply", order({"nvidia-open": OLD}), timeout_s=APPLY_S)
    assert none["error"]["kind"] == "no_effect"
    removing = {"libnvidia-compute": LATER, "nvidia-utils": FIRST}
    gone = driver.agent("apply", order(removing), timeout_s=APPLY_S)
    assert "apt would remove nvidia-open" in gone["error"]["message"]
    first = apply(driver, WANTED)
    second = driver.agent("apply", order({"nvidia-persistenced": FIRST}), timeout_s=APPLY_S)
    assert second["error"]["kind"] == "claimed", second
    driver.agent("undo", {"lease": first["lease"]}, timeout_s=APPLY_S)
    assert state(driver, first["lease"])["state"] == "clean"
    assert seen(driver) == before
