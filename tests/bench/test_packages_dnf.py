# SPDX-License-Identifier: Apache-2.0
"""provision on a host whose packages are RPM's: Debian's own dnf, rpm, createrepo_c and versionlock plugin, no apt."""

import pytest

from bench.hosts import Host
from bench.playing import Played
from bench.rpm_packages import lock_of, locks, seen
from bench.rpm_site import NAMED, Site, at, wanted
from bench.waiting import wait_until
from support.rpms import FIRST, LATER, OLD, evr

pytestmark = pytest.mark.timeout(900)

# What is built with the driver and comes along with nvidia-open.
PARTS = ("kmod-nvidia-open-dkms", "nvidia-driver-cuda", "nvidia-driver-cuda-libs")


def told(played: Played, host: Host) -> str:
    """Return its one sentence."""
    return str(played.told(host.name)["said"])


def test_exact_versions_are_predicted_installed_and_locked_with_all_that_moves_along_and_the_second_run_changes_nothing(
    site: Site,
) -> None:
    before = seen(site.host)
    looked = site.provision(OLD, "--check", "--diff")
    assert (looked.status, seen(site.host)) == (0, before), looked.said
    assert looked.changed(site.host.name) >= 2  # packages and locks
    assert f"nvidia-driver-cuda-libs     x86_64     {evr('nvidia-open', OLD)}" in looked.stdout

    done = site.provision(OLD)
    assert (done.status, site.versions(), done.told(site.host.name)["changed"]) == (0, at(OLD), True), done.said
    assert locks(site.host) == sorted(lock_of(name, OLD) for name in (*NAMED, *PARTS))

    kept = seen(site.host)
    for options in ((), ("--check", "--diff")):
        again = site.provision(OLD, *options)
        assert (again.status, again.changed(site.host.name), seen(site.host)) == (0, 0, kept), again.said


def test_an_upgrade_is_refused_by_the_lock_and_what_passes_it_is_put_right_by_the_next_run(site: Site) -> None:
    assert site.provision(OLD).status == 0
    kept = seen(site.host)
    assert site.host.run(["dnf", "-y", "upgrade"], timeout_s=120).returncode == 0  # there is nothing that it may do
    asked = site.host.run(["dnf", "-y", "install", f"nvidia-open-{evr('nvidia-open', LATER)}"], timeout_s=120)
    assert asked.returncode == 1
    assert "filtered out by exclude filtering" in asked.stdout + asked.stderr
    assert seen(site.host) == kept

    passing = ["dnf", "-y", "--disableplugin=versionlock", "upgrade"]  # as `rpm -U` and `dnf remove` would
    site.host.run(passing, timeout_s=120, check=True)
    assert site.versions() == at(LATER)
    mended = site.provision(OLD)
    assert (mended.status, site.versions()) == (0, at(OLD)), mended.said


def test_up_and_down_leave_one_lock_a_package_and_a_version_without_its_epoch_will_do(site: Site) -> None:
    for version in (FIRST, LATER, OLD):
        plain = {name: whole.rpartition(":")[2] for name, whole in wanted(version).items()}
        done = site.provision(version, chaosgpu_packages=plain)
        assert (done.status, site.versions()) == (0, at(version)), done.said
        found = [row for row in locks(site.host) if not row.startswith("libnvidia-gpucomp")]
        assert found == sorted(lock_of(name, version) for name in (*NAMED, *PARTS))
    again = site.provision(OLD, chaosgpu_packages=plain)
    assert (again.status, again.changed(site.host.name)) == (0, 0), again.said


@pytest.mark.parametrize("options", [(), ("--check",)], ids=["played", "looked at"])
def test_a_version_that_no_repository_has_is_refused_in_one_sentence(site: Site, options: tuple[str, ...]) -> None:
    assert site.provision(OLD).status == 0
    kept = seen(site.host)
    unknown = site.provision(OLD, *options, chaosgpu_packages={**wanted(OLD), "nvidia-open": "3:590.1-1.el9"})
    assert unknown.status == 2, unknown.said
    assert told(unknown, site.host).startswith(
        "dnf finds no way to nvidia-open-3:590.1-1.el9 on this host, and nothing was changed."
    )
    assert "Unable to find a match: nvidia-open-3:590.1-1.el9" in told(unknown, site.host)
    assert seen(site.host) == kept


def test_a_host_without_its_repository_is_left_as_it_is_and_passes_where_nothing_is_due(site: Site) -> None:
    assert site.provision(OLD).status == 0
    kept = seen(site.host)
    site.cut_off()
    refused = site.provision(LATER)
    assert (refused.status, seen(site.host)) == (2, kept), refused.said
    assert "and nothing was changed." in told(refused, site.host)
    assert "Failed to download metadata for repo 'driver'" in told(refused, site.host)
    same = site.provision(OLD)
    assert (same.status, same.changed(site.host.name)) == (0, 0), same.said


def test_a_repository_that_does_not_answer_is_waited_for_no_longer_than_was_said(site: Site) -> None:
    assert site.provision(OLD).status == 0
    kept = seen(site.host)
    drop = "table inet silent { chain out { type filter hook output priority 0; tcp dport 8480 drop; }; }"
    site.host.run(["nft", "-f", "-"], drop, check=True)
    try:
        refused = site.provision(LATER, chaosgpu_change_within_s=5)
    finally:
        site.host.run(["nft", "delete", "table", "inet", "silent"], check=True)
    assert (refused.status, seen(site.host)) == (2, kept), refused.said
    assert "It was not done within 5 s and was ended" in told(refused, site.host)
    assert site.host.run(["pgrep", "-x", "dnf"]).stdout == ""


def test_a_package_whose_script_fails_is_named_and_not_called_done(site: Site) -> None:
    assert site.provision(OLD).status == 0
    gate = f"/run/gate/fail.nvidia-driver-cuda.pre.{LATER}"
    site.host.run(["sh", "-c", f"mkdir -p /run/gate; touch {gate}"], check=True)
    failed = site.provision(LATER)
    assert failed.status == 2, failed.said
    assert told(failed, site.host).startswith("dnf did not bring nvidia-open-3:580.95.05-1.el9")
    assert failed.told(site.host.name)["changed"] is True
    site.host.run(["rm", "-rf", "/run/gate"], check=True)
    mended = site.provision(LATER)
    assert (mended.status, site.versions()) == (0, at(LATER)), mended.said


def test_a_host_whose_dnf_cannot_lock_is_not_called_done(site: Site) -> None:
    plugin = "/usr/lib/python3/dist-packages/dnf-plugins/versionlock.py"
    site.host.run(["mv", plugin, "/root/versionlock.py"], check=True)
    try:
        failed = site.provision(OLD)
    finally:
        site.host.run(["mv", "/root/versionlock.py", plugin], check=True)
    assert failed.status == 2, failed.said
    assert "install its versionlock plugin" in told(failed, site.host)


def test_a_controller_that_is_killed_leaves_rpm_at_work_and_the_next_run_finds_it_done(site: Site) -> None:
    assert site.provision(OLD).status == 0
    site.host.run(["sh", "-c", "mkdir -p /run/gate; touch /run/gate/nvidia-driver-cuda.post"], check=True)
    killed = site.start(LATER)
    wait_until(lambda: site.host.run(["test", "-e", "/run/at/nvidia-driver-cuda.post"]).returncode == 0, 200.0)
    site.kill()
    killed.communicate(timeout=30)
    site.host.run(["rm", "-rf", "/run/gate"], check=True)
    wait_until(lambda: site.host.run(["pgrep", "-x", "dnf"]).stdout == "", 60.0)
    assert site.versions() == at(LATER)
    again = site.provision(LATER)
    assert again.status == 0, again.said
    assert lock_of("nvidia-open", LATER) in locks(site.host)
