# SPDX-License-Identifier: Apache-2.0
"""Snapshot, pin, verify, roll back where packages are RPM's: offline, under a lease, killed in every script of rpm."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from bench import rpm_packages
from bench.files import AGENT
from bench.leases import state
from bench.packages import Gate, wait_clean
from bench.playing import DRILL
from bench.rpm_packages import exactly, installed, lock_of, locks
from bench.rpm_site import NAMED, Site, at, wanted
from bench.waiting import wait_until
from support.rpms import FIRST, LATER, OLD, evr

pytestmark = pytest.mark.timeout(900)

_APPLY_S = 240.0
LEASE = f"lifecycle-{DRILL}-pin"
DRIVER: dict[str, Any] = {"chaosgpu_drill": DRILL, "chaosgpu_packages": wanted(LATER)}
# Scripts of rpm in the order in which it comes to them; killed in one, something else is half-done each time.
GATES = (
    (Gate("nvidia-driver-cuda-libs", "pre"), "rpm"),
    (Gate("nvidia-driver-cuda", "post"), "all"),
    (Gate("kmod-nvidia-open-dkms", "post"), "agent"),
    (Gate("nvidia-open", "preun"), "all"),
    (Gate("nvidia-driver-cuda-libs", "postun"), "rpm"),
)
_KILLED = {
    "rpm": "pkill -KILL -x rpm",
    "agent": "kill -KILL $agent",
    "all": "kill -KILL $agent; pkill -KILL -x rpm; pkill -KILL -f [/]var/tmp/rpm-tmp",
}
_KILL = """
rm -rf /run/at /run/gate; mkdir -p /run/gate; touch /run/gate/{gate}
{agent} apply <&0 > /run/answer & agent=$!
for _ in $(seq 3000); do [ ! -e /run/at/{gate} ] || break; sleep 0.02; done
[ -e /run/at/{gate} ] && echo caught
{kill}
rm -rf /run/gate
wait $agent 2>/dev/null
exit 0
"""


@pytest.fixture
def driver(site: Site) -> Iterator[Site]:
    """Give the site with the old driver, locked as a site would, one file edited, and nothing of ours left after."""
    rpm_packages.install(site.host, OLD)
    yield site
    site.host.agent("undo", {"all": True}, timeout_s=_APPLY_S)
    if not site.host.agent("list")["leases"]:
        site.host.run(["find", "/var/lib/chaosgpu/leases", "-mindepth", "1", "-delete"])


def _order(lease: str, ttl_s: float = 300.0) -> dict[str, Any]:
    params = {"packages": wanted(LATER), "guard": True, "back_within_s": 120}
    times = {"ttl_s": ttl_s, "max_duration_s": ttl_s}
    return {"lease": lease, "fault": "package.install", "params": params, "run": "packages", **times}


def test_each_playbook_says_first_what_it_does_does_it_once_and_the_host_comes_back_without_its_repository(
    driver: Site,
) -> None:
    host, before = driver.host, exactly(driver.host)
    looked = driver.play("snapshot", "--check", "--diff", **DRIVER)
    taken = driver.play("snapshot", "--diff", **DRIVER)
    assert (looked.status, taken.status, taken.diff) == (0, 0, looked.diff), looked.said + taken.said
    assert f"+nvidia-open {evr('nvidia-open', OLD)} -> {evr('nvidia-open', LATER)}" in taken.diff
    assert driver.play("snapshot", **DRIVER).changed(host.name) == 0

    looked = driver.play("pin", "--check", "--diff", **DRIVER)
    assert (looked.status, looked.changed(host.name), exactly(host)) == (0, 1, before), looked.said
    pinned = driver.play("pin", "--diff", **DRIVER)
    assert (pinned.status, pinned.changed(host.name), driver.versions()) == (0, 1, at(LATER)), pinned.said
    assert pinned.diff == looked.diff
    assert installed(host, "libnvidia-gpucomp") == evr("libnvidia-gpucomp", LATER)
    assert lock_of("nvidia-driver-cuda-libs", LATER) in locks(host)
    again = driver.play("pin", **DRIVER)
    assert (again.status, again.changed(host.name)) == (0, 0), again.said
    verified = driver.play("verify", **DRIVER)
    assert (verified.status, verified.changed(host.name)) == (0, 0), verified.said

    driver.cut_off()
    host.run(["sh", "-c", "rm -rf /etc/yum.repos.d/* /var/cache/dnf"], check=True)
    while_in = exactly(host)
    looked = driver.play("rollback", "--check", "--diff", **DRIVER)
    assert (looked.status, looked.changed(host.name), exactly(host)) == (0, 1, while_in), looked.said
    back = driver.play("rollback", "--diff", **DRIVER)
    assert (back.status, back.changed(host.name), back.told(host.name)["as_before"]) == (0, 1, True), back.said
    assert (back.diff, exactly(host)) == (looked.diff, before)
    again = driver.play("rollback", **DRIVER)
    assert (again.status, again.changed(host.name)) == (0, 0), again.said


@pytest.mark.parametrize(("gate", "who"), GATES, ids=[f"{gate}-{who}" for gate, who in GATES])
def test_killed_in_a_script_of_rpm_the_host_is_put_back_exactly_and_offline(driver: Site, gate: Gate, who: str) -> None:
    host, before = driver.host, exactly(driver.host)
    assert host.run(["dnf", "-q", "makecache"], timeout_s=60).returncode == 0
    ordered = _order(f"killed-{gate.package}")
    script = _KILL.format(gate=gate, agent=AGENT, kill=_KILLED[who])
    rows = host.run(["bash", "-c", script], json.dumps({"protocol": 1, **ordered}), _APPLY_S, check=True).stdout
    assert rows.split() == ["caught"], host.run(["cat", "/run/answer"]).stdout
    driver.cut_off()
    host.run(["sh", "-c", "rm -rf /etc/yum.repos.d/*"], check=True)
    wait_until(lambda: host.run(["pgrep", "-x", "rpm"]).stdout == "", 60.0)
    host.agent("undo", {"lease": ordered["lease"]}, timeout_s=_APPLY_S)
    ended = wait_clean(host, str(ordered["lease"]))
    assert (ended["state"], ended["left_alone"]) == ("clean", []), ended
    assert exactly(host) == before


def test_a_script_of_the_later_version_that_fails_on_the_way_back_does_not_keep_it_there(driver: Site) -> None:
    before = exactly(driver.host)
    assert driver.host.agent("apply", _order("stubborn"), timeout_s=_APPLY_S).get("state") == "active"
    gate = f"/run/gate/fail.nvidia-driver-cuda.preun.{LATER}"
    driver.host.run(["sh", "-c", f"mkdir -p /run/gate; touch {gate}"], check=True)
    [line] = driver.host.agent("undo", {"lease": "stubborn"}, timeout_s=_APPLY_S)["leases"]
    driver.host.run(["rm", "-rf", "/run/gate"], check=True)
    assert (line["state"], exactly(driver.host)) == ("clean", before), line


def test_a_host_ends_the_pin_by_itself(driver: Site) -> None:
    before = exactly(driver.host)
    assert driver.host.agent("apply", _order("short", 90.0), timeout_s=_APPLY_S).get("state") == "active"
    ended = wait_clean(driver.host, "short", 240.0)
    assert (ended["state"], exactly(driver.host)) == ("clean", before), ended


def test_a_version_that_no_repository_has_and_one_without_its_epoch_are_refused(driver: Site) -> None:
    before = exactly(driver.host)
    for version, sentence in (("3:590.1-1.el9", "dnf finds no way to"), (f"{LATER}-1.el9", "write the epoch")):
        asked = {**DRIVER, "chaosgpu_packages": {"nvidia-open": version}}
        refused = driver.play("snapshot", **asked)
        assert refused.status == 2, refused.said
        assert sentence in refused.told(driver.host.name)["said"]
    assert exactly(driver.host) == before


def test_what_moved_past_the_lock_is_named_and_the_host_is_not_passed_over(driver: Site) -> None:
    host = driver.host
    assert driver.play("snapshot", **DRIVER).status == 0
    assert driver.play("pin", **DRIVER).status == 0
    rpm_packages.by_rpm(host, "nvidia-fabricmanager", FIRST)
    unfit = driver.play("verify", **DRIVER)
    assert f"nvidia-fabricmanager is {evr(NAMED[1], FIRST)}, and should be" in unfit.told(host.name)["said"]
    back = driver.play("rollback", **DRIVER)
    assert back.status == 2
    assert back.told(host.name)["said"].startswith(f"The host is not as it was before drill {DRILL}")
    assert state(host, LEASE)["state"] == "clean"
