# SPDX-License-Identifier: Apache-2.0
"""The packages of a host of RPM's as facts: real rpm, real locks, read again only when rpm has changed something."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from bench.hosts import Host
from bench.rpm_packages import BUILT, LOCKS, by_rpm, install
from bench.rpm_packages import locks as locks_of
from bench.rpm_site import Site
from chaosgpu.cuda.compare import outliers
from chaosgpu.cuda.compatibility import compatibility
from chaosgpu.cuda.facts import Facts
from chaosgpu.cuda.flat import flat
from chaosgpu.cuda.rules import findings
from chaosgpu.cuda.versionlocks import VersionLocks, version_locks_of
from support.dnf_forms import FORMS, TAKEN
from support.rpms import LATER, OLD, evr

pytestmark = pytest.mark.timeout(900)

_KEPT = "/var/cache/chaosgpu/packages.json"


@pytest.fixture
def host(site: Site) -> Iterator[Host]:
    """Give the host with the old driver, of which the site has locked the fabric manager."""
    install(site.host, OLD)
    yield site.host
    site.host.run(["rm", "-f", _KEPT], check=True)


def _facts(host: Host) -> dict[str, Any]:
    params = {"sections": ["packages", "driver", "apt", "units"]}
    return host.agent("read", {"reading": "fleet.facts", "params": params}, timeout_s=60)


def test_versions_and_locks_are_those_of_real_rpm_and_the_drivers_package_is_named(host: Host) -> None:
    found = _facts(host)["values"]
    assert found["packages"]["manager"] == "rpm"
    wanted = host.run(["sh", "-c", "rpm -qa '*nvidia*' --qf '%{NAME} %{EVR}\\n'"], check=True).stdout
    assert {name: version for name, version in found["packages"]["installed"].items() if "nvidia" in name} == dict(
        line.split() for line in wanted.splitlines()
    )
    assert found["packages"]["holds"] == ["nvidia-fabricmanager"]
    assert found["packages"]["broken"] == {}
    assert found["driver"]["package_name"] == "nvidia-driver-cuda-libs"
    assert found["driver"]["package"] == evr("nvidia-driver-cuda-libs", OLD)


def test_a_package_in_two_versions_is_broken_and_one_that_moved_past_its_lock_is_held_no_more(host: Host) -> None:
    whole = evr("nvidia-fabricmanager", LATER)
    script = f"rpm -i --force --nodeps --noscripts {BUILT}/*/nvidia-fabricmanager-{whole}.*.rpm"
    host.run(["sh", "-c", script], timeout_s=60, check=True)
    assert _facts(host)["values"]["packages"]["broken"] == {"nvidia-fabricmanager": "in two versions"}
    host.run(["rpm", "-e", "--nodeps", "--noscripts", f"nvidia-fabricmanager-{evr('nvidia-fabricmanager', OLD)}"])
    found = _facts(host)["values"]["packages"]
    assert (found["installed"]["nvidia-fabricmanager"], found["broken"], found["holds"]) == (whole, {}, [])


def test_rpm_is_asked_once_a_change_and_a_change_is_drift(host: Host) -> None:
    first = _facts(host)
    kept = json.loads(host.run(["cat", _KEPT], check=True).stdout)
    kept["versions"]["nvidia-open"] = "0-0"  # a reading that does not ask rpm again gives what is kept
    host.run(["sh", "-c", f"cat > {_KEPT}"], json.dumps(kept), check=True)
    assert _facts(host)["values"]["packages"]["installed"]["nvidia-open"] == "0-0"
    by_rpm(host, "nvidia-fabricmanager", LATER)
    second = _facts(host)
    before, after = (flat(Facts(name, one["values"], one["unknown"])) for name, one in (("a", first), ("b", second)))
    assert {one.key for one in outliers([before, after])} == {"packages.nvidia-fabricmanager", "apt.holds"}


def _moved(host: Host) -> set[str]:
    """Return what an upgrade would bring to another version, as dnf itself says."""
    said = host.run(["sh", "-c", "LC_ALL=C dnf --cacheonly upgrade --assumeno"], timeout_s=60).stdout
    rows = (line.split() for line in said.splitlines())
    return {row[0] for row in rows if len(row) > 2 and "nvidia" in row[0] and LATER in row[2]}


def test_the_forms_of_dnfs_settings_are_what_real_dnf_takes_them_for(host: Host) -> None:
    said = host.run(["/usr/bin/python3", "-c", TAKEN], json.dumps([*FORMS]), timeout_s=60, check=True).stdout
    assert dict(zip(FORMS, json.loads(said), strict=True)) == FORMS


def test_what_the_excludes_hold_by_the_facts_real_dnf_leaves_where_it_is(host: Host) -> None:
    assert {"nvidia-open", "nvidia-driver-cuda-libs"} <= _moved(host)
    conf = host.run(["cat", "/etc/dnf/dnf.conf"], check=True).stdout
    try:
        host.run(["sh", "-c", "cat > /etc/dnf/dnf.conf"], f"{conf}exclude=nvidia-driver* nvidia-open\n", check=True)
        pins = _facts(host)["values"]["apt"]["pins"]
        assert [(pin["package"], pin["pin"]) for pin in pins] == [
            ("nvidia-driver*", "excluded"), ("nvidia-open", "excluded"),
        ]  # fmt: skip
        assert not {"nvidia-open", "nvidia-driver-cuda", "nvidia-driver-cuda-libs"} & _moved(host)
    finally:
        host.run(["sh", "-c", "cat > /etc/dnf/dnf.conf"], conf, check=True)


def _locks(host: Host) -> VersionLocks:
    """Return what `drift pin` prints for a host that is locked as it is."""
    due = {key: value for key, value in flat(_taken(host)).values.items() if "nvidia" in key or "package" in key}
    return version_locks_of(due)


def _taken(host: Host) -> Facts:
    told = _facts(host)
    return Facts(host.name, told["values"], told["unknown"])


def test_the_locks_that_pin_prints_are_those_that_dnf_writes_and_hold_every_package(host: Host) -> None:
    locks = _locks(host)
    host.run(["sh", "-c", f": > {LOCKS}"], check=True)
    host.run([locks.command[0], "-q", "--cacheonly", *locks.command[1:]], timeout_s=60, check=True)
    written = locks_of(host)
    assert written == sorted(locks.lines)
    assert _moved(host) == set()
    host.run(["sh", "-c", f"cat > {LOCKS}"], locks.text, check=True)
    assert (locks_of(host), _moved(host)) == (written, set())
    assert set(_facts(host)["values"]["packages"]["holds"]) >= {"nvidia-open", "nvidia-driver-cuda-libs"}


_SERVICE = "[Service]\nType=oneshot\nExecStart=/usr/bin/dnf-automatic /etc/dnf/automatic.conf --timer\n"
_TIMER = "[Timer]\nOnCalendar=*-*-* 6:00\n[Install]\nWantedBy=timers.target\n"


def test_a_timer_that_systemd_has_enabled_is_found_and_the_driver_that_nothing_holds(host: Host) -> None:
    """Debian's dnf has no such unit, so these are as Fedora's package has them; systemd enables them."""
    units, conf = "/usr/lib/systemd/system/dnf-automatic", "/etc/dnf/automatic.conf"
    try:
        host.run(["sh", "-c", f"cat > {units}.service"], _SERVICE, check=True)
        host.run(["sh", "-c", f"cat > {units}.timer; systemctl daemon-reload"], _TIMER, check=True)
        host.run(["sed", "-i", "s/^apply_updates.*/apply_updates = yes/", conf], check=True)
        assert _taken(host).section("apt")["unattended_upgrades"] is False
        host.run(["systemctl", "enable", "--now", "dnf-automatic.timer"], check=True)
        found = _taken(host)
        assert found.section("apt")["unattended_upgrades"] is True
        assert found.section("units")["upgrade_timer"] == "active"
        assert "upgrades-by-itself" in {one.rule for one in findings(found, compatibility())}
        host.run(
            ["dnf", "-q", "--cacheonly", "versionlock", "add", "nvidia-driver-cuda-libs"], timeout_s=60, check=True
        )
        assert "upgrades-by-itself" not in {one.rule for one in findings(_taken(host), compatibility())}
        host.run(["sed", "-i", "s/^apply_updates.*/apply_updates = no/", conf], check=True)
        assert _taken(host).section("apt")["unattended_upgrades"] is False
    finally:
        host.run(["sh", "-c", f"systemctl disable --now dnf-automatic.timer; rm -f {units}.*; systemctl daemon-reload"])
