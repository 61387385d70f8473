# SPDX-License-Identifier: Apache-2.0
"""The packages of a host of RPM's as facts: real rpm, real locks, read again only when rpm has changed something."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from bench.hosts import Host
from bench.rpm_packages import BUILT, by_rpm, install
from bench.rpm_site import Site
from chaosgpu.cuda.compare import outliers
from chaosgpu.cuda.facts import Facts
from chaosgpu.cuda.flat import flat
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
    params = {"sections": ["packages", "driver"]}
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
