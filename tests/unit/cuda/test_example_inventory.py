# SPDX-License-Identifier: Apache-2.0
"""The example fleet is a real inventory, and its lock file is of exactly its hosts."""

import datetime as dt
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from chaosgpu.cuda import lockfile
from chaosgpu.cuda.compare import due_of
from chaosgpu.cuda.facts import LookAt
from chaosgpu.cuda.pins import pins_of

EXAMPLE = Path(__file__).resolve().parents[3] / "inventory" / "example"
TODAY = dt.date(2026, 11, 26)


@pytest.fixture(scope="module")
def inventory() -> dict[str, dict[str, Any]]:
    """Return what a real ansible-inventory makes of the files."""
    program = Path(sys.prefix) / "bin" / "ansible-inventory"
    listed = subprocess.run(
        [program, "-i", str(EXAMPLE / "hosts.yml"), "--list"], capture_output=True, text=True, timeout=60, check=True
    )
    assert "WARNING" not in listed.stderr
    found: dict[str, dict[str, Any]] = json.loads(listed.stdout)
    return found


@pytest.fixture(scope="module")
def groups(inventory: dict[str, dict[str, Any]]) -> dict[str, set[str]]:
    """Return the hosts of each group."""
    return {name: set(group["hosts"]) for name, group in inventory.items() if "hosts" in group}


def test_every_host_is_in_one_rack_and_of_one_kind(groups: dict[str, set[str]]) -> None:
    hosts = groups["h100"] | groups["l40s"]
    assert len(hosts) == 12
    for kind in (("rack1", "rack2", "rack3"), ("h100", "l40s"), ("serving", "batch", "spare")):
        assert set().union(*(groups[name] for name in kind)) == hosts
        assert sum(len(groups[name]) for name in kind) == len(hosts)
    assert groups["protected"] <= hosts


def test_the_lock_file_has_each_group_with_exactly_its_hosts(groups: dict[str, set[str]]) -> None:
    lock = lockfile.read(EXAMPLE / "fleet.lock.yaml")
    assert {name: set(group.hosts) for name, group in lock.groups.items()} == {
        name: groups[name] for name in ("h100", "l40s")
    }
    assert LookAt(lock.look_at.services).params() == {"services": ["triton.service"]}


def test_the_lock_file_and_each_hosts_variables_say_the_same(inventory: dict[str, dict[str, Any]]) -> None:
    lock = lockfile.read(EXAMPLE / "fleet.lock.yaml")
    variables = inventory["_meta"]["hostvars"]
    assert len(variables) == 12
    for host, own in variables.items():
        due = due_of(lock, host, TODAY)
        assert due["gpus.count"] == own["gpu_count"]
        assert due["driver.module"] == own["gpu_driver_version"]
        assert ("packages.nvidia-fabricmanager-580" in due) is own["gpu_has_nvswitch"]
        assert own["rack"] == host[1]


def test_the_exception_of_the_example_counts_for_its_host_alone_and_until_its_day() -> None:
    lock = lockfile.read(EXAMPLE / "fleet.lock.yaml")
    assert due_of(lock, "r2-gpu04", TODAY)["gpus.vbios"] == "96.00.74.00.01"
    assert due_of(lock, "r2-gpu03", TODAY)["gpus.vbios"] == "96.00.89.00.01"
    assert due_of(lock, "r2-gpu04", dt.date(2027, 2, 1))["gpus.vbios"] == "96.00.89.00.01"


def test_the_lock_file_of_the_example_can_be_pinned() -> None:
    lock = lockfile.read(EXAMPLE / "fleet.lock.yaml")
    assert "nvidia-fabricmanager-580" in pins_of(due_of(lock, "r1-gpu01", TODAY)).holds


def test_every_file_of_variables_belongs_to_a_group(groups: dict[str, set[str]]) -> None:
    named = {path.stem for path in (EXAMPLE / "group_vars").glob("*.yml")}
    assert named <= {"all", "gpu_hosts", *groups}
    assert len(named) >= 8
