# SPDX-License-Identifier: Apache-2.0
"""Hosts of an inventory that demand approvals: each judges the drill itself, and where one refuses it is on none."""

import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.controllers import residue
from bench.drill_plans import CHANGE_ID, EXPERIMENT, capped, now, write_plan
from bench.hosts import Bench, Host
from bench.inventory import GROUP, write_inventory
from bench.leases import broken
from bench.waiting import wait_until
from support.drills import People

pytestmark = pytest.mark.timeout(900)

_POLICY, _SIGNERS, _KEPT = "/etc/chaosgpu/policy.json", "/etc/chaosgpu/drill_signers", "/root/policy-as-it-was.json"
_COMMANDS = Path(sys.executable).parent
_RUN_S = 300.0


@pytest.fixture
def demanding(host: Host, other: Host) -> Iterator[list[Host]]:
    """Let both hosts demand an approval by whoever their own file names."""
    hosts = [host, other]
    for one in hosts:
        policy = json.loads(one.run(["cat", _POLICY], check=True).stdout)
        one.run(["cp", _POLICY, _KEPT], check=True)
        given = {"required": True, "allowed_signers": _SIGNERS, "names": [one.name]}
        _put(one, _POLICY, json.dumps({**policy, "approvals": given}))
    yield hosts
    for one in hosts:
        one.run(["mv", _KEPT, _POLICY], check=True)
        one.run(["rm", "-f", _SIGNERS], check=True)


def _put(host: Host, path: str, text: str) -> None:
    host.run(["sh", "-c", f"cat > {shlex.quote(path)}"], text, check=True)


def _prepare(fleet: Bench, host: Host, folder: Path) -> tuple[str, People]:
    """Write inventory, experiment and approved plan; return the plan's name."""
    write_inventory(fleet.plan, folder)
    gpu = host.gpus().show()[0]["identity"]["pci_bus_id"]
    fleet_of = {"chaosgpu_inventory": "hosts.yml", "chaosgpu_limit": GROUP, "chaosgpu_blast_radius": 2}
    names = [one.name for one in fleet.plan.hosts]
    given = {"names": names, "inventory": ["hosts.yml"], "blast_radius": len(names)}
    path, people = write_plan(folder, "fleet", capped(gpu, GROUP, host.name, **fleet_of), now(), given)
    return path.name, people


def _call(fleet: Bench, folder: Path, *words: str) -> tuple[int, str]:
    with fleet.inside():
        done = subprocess.run(
            [str(_COMMANDS / words[0]), *words[1:]], cwd=folder, capture_output=True, text=True, timeout=_RUN_S,
            check=False,
        )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def _drill(fleet: Bench, folder: Path, plan: str) -> tuple[int, str]:
    return _call(fleet, folder, "chaosgpu", "drill", "--settings", "site.yaml", "run", plan)


def _ledger(folder: Path) -> list[dict[str, Any]]:
    [path] = folder.glob("drills/*/runs/2*/ledger.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_host_of_an_approved_drill_finds_the_signature_good_and_takes_nothing_beside_the_drill(
    fleet: Bench, demanding: list[Host], tmp_path: Path
) -> None:
    plan, people = _prepare(fleet, demanding[0], tmp_path)
    for one in demanding:
        _put(one, _SIGNERS, people.allowed_signers.read_text())
    status, said = _call(fleet, tmp_path, "chaos", "run", EXPERIMENT)
    assert status != 0
    assert "demands an approval, and none came with the fault" in said, said
    assert not any(map(broken, demanding))

    status, said = _drill(fleet, tmp_path, plan)
    assert (status, "DRILL VERDICT passed" in said) == (0, True), said
    granted = {one["host"]: one["granted"] for one in _ledger(tmp_path) if "granted" in one}
    assert granted.keys() == {one.name for one in demanding}
    for one in demanding:
        assert [who["by"] for who in granted[one.name]["approved_by"]] == ["bob@lab"]
        assert granted[one.name]["change_id"] == CHANGE_ID
        wait_until(lambda: residue(one) == [])  # noqa: B023 (called at once)
    assert not any(map(broken, demanding))


def test_where_one_host_knows_other_signers_what_another_took_is_undone_at_once(
    fleet: Bench, demanding: list[Host], tmp_path: Path
) -> None:
    plan, people = _prepare(fleet, demanding[0], tmp_path)
    (tmp_path / "strangers").mkdir()
    stranger = People(tmp_path / "strangers", ("bob@lab",))
    for one, signers in zip(demanding, (people, stranger), strict=True):
        _put(one, _SIGNERS, signers.allowed_signers.read_text())
    status, said = _drill(fleet, tmp_path, plan)
    assert status != 0
    assert f"refused on {demanding[1].name}" in said, said
    assert "has no signature that holds here" in said
    ledger = _ledger(tmp_path)
    assert {one["host"] for one in ledger if one["type"] == "lease.active"} <= {demanding[0].name}
    assert {one["by"] for one in ledger if one["type"] == "lease.reverting"} <= {"not on all hosts"}
    assert ledger[-1]["verdict"] == "inconclusive"
    for one in demanding:
        assert not broken(one)
        wait_until(lambda: residue(one) == [])  # noqa: B023 (called at once)
