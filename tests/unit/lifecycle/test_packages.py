# SPDX-License-Identifier: Apache-2.0
"""Which packages a host is pinned to: those of the plan, or what its group of the lock file has."""

from pathlib import Path

import pytest

from chaosgpu.errors import BadArgument
from chaosgpu.lifecycle.around import packages_for
from chaosgpu.lifecycle.plan import Plan

_LOCK = """\
version: 1
recorded: 2026-11-26
groups:
  h100: {hosts: [gpu1], locked: {packages: {nvidia-open: 580.95.05-1}}}
  a100:
    hosts: [gpu2]
    locked: {driver: {package_name: libnvidia-compute, package: 570.172.08-1}, packages: {nvidia-open: 570.172.08-1}}
  bare: {hosts: [gpu3], locked: {kernel: {release: 6.1.0-56}}}
"""


def _lock(folder: Path) -> Plan:
    (folder / "fleet.lock.yaml").write_text(_LOCK)
    return Plan(lock=str(folder / "fleet.lock.yaml"))


def test_every_host_has_the_packages_of_the_plan_or_of_its_group_of_the_lock_file(tmp_path: Path) -> None:
    assert packages_for(Plan(), ["gpu1"]) == {}
    same = Plan(packages={"nvidia-open": "580.95.05-1"})
    assert packages_for(same, ["gpu1", "gpu2"]) == {"gpu1": same.packages, "gpu2": same.packages}
    assert packages_for(_lock(tmp_path), ["gpu1", "gpu2"]) == {
        "gpu1": {"nvidia-open": "580.95.05-1"},
        "gpu2": {"nvidia-open": "570.172.08-1", "libnvidia-compute": "570.172.08-1"},
    }


@pytest.mark.parametrize(
    ("host", "sentence"),
    [("gpu9", "No group of the lock file has the host gpu9"), ("gpu3", "names no packages for this host")],
)
def test_a_host_that_the_lock_file_does_not_know_packages_of_is_refused(
    tmp_path: Path, host: str, sentence: str
) -> None:
    with pytest.raises(BadArgument, match=sentence):
        packages_for(_lock(tmp_path), ["gpu1", host])
