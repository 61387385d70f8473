# SPDX-License-Identifier: Apache-2.0
"""The example inventory is one that Ansible reads, and the test fleet has its shape."""

from pathlib import Path

import pytest
import yaml

from bench.inventory import EXAMPLE, GROUP, write_inventory
from bench.plan import BenchPlan
from chaosgpu.fleet.ansible.choose import hosts_of
from chaosgpu.fleet.inventory import Inventory


def _groups(path: Path) -> dict[str, list[str]]:
    children = yaml.safe_load(path.read_text())["all"]["children"]
    return {name: [*group["hosts"]] for name, group in children.items() if "hosts" in group}


def test_ansible_reads_the_example_by_rack_product_and_purpose() -> None:
    patterns = ["rack1:&serving:!protected", "l40s", f"{GROUP}:&spare"]
    found = hosts_of(Inventory((str(EXAMPLE),)), patterns)
    assert found == {
        "rack1:&serving:!protected": ("r1-gpu02", "r1-gpu03"),
        "l40s": ("r3-gpu01", "r3-gpu02", "r3-gpu03", "r3-gpu04"),
        f"{GROUP}:&spare": ("r1-gpu04", "r2-gpu04"),
    }


def test_every_host_of_the_example_is_in_one_rack_one_product_and_one_purpose() -> None:
    groups = _groups(EXAMPLE / "hosts.yml")
    every = sorted(host for name in ("h100", "l40s") for host in groups[name])
    assert len(every) == len(set(every)) == 12
    for kind in (("rack1", "rack2", "rack3"), ("serving", "batch", "spare")):
        assert sorted(host for name in kind for host in groups[name]) == every


@pytest.mark.parametrize("count", [2, 8, 32])
def test_the_test_fleet_has_the_groups_and_variables_of_the_example(tmp_path: Path, count: int) -> None:
    plan = BenchPlan.new(tmp_path / "bench", count, (), (), None)
    path = write_inventory(plan, tmp_path, pdu="x")
    groups = _groups(path)
    assert groups.keys() == _groups(EXAMPLE / "hosts.yml").keys()
    racks = [groups[f"rack{number}"] for number in (1, 2, 3)]
    assert sorted(host for rack in racks for host in rack) == sorted(host.name for host in plan.hosts)
    assert max(map(len, racks)) - min(map(len, racks)) <= 1
    assert yaml.safe_load((tmp_path / "group_vars/rack2.yml").read_text())["rack"] == "2"
    everybody = yaml.safe_load((tmp_path / "group_vars/all.yml").read_text())
    assert (everybody["ansible_user"], everybody["ansible_become"], everybody["pdu"]) == ("ops", False, "x")
