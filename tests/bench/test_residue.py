# SPDX-License-Identifier: Apache-2.0
"""Residue on real systemd hosts: all that is planted is found, and nothing where nothing was planted."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from bench.files import AGENT
from bench.hosts import BENCHES, Bench, Host
from bench.leases import apply
from bench.plan import me
from bench.residue_plants import FIRST, LATER, PREPARE, UNKNOWN_OWNER
from chaosgpu.agent.residue.finding import families
from unit.residue.plants import PLANTS
from unit.residue.test_gpus import SETTINGS

# Shown by the real agent, or on simulated GPUs, in tests/unit/residue.
_ELSEWHERE = frozenset({
    "lease.stuck", "lease.expired", "lease.abandoned", "lease.unkept", "lease.earlier_start", "gpu.silent",
    "gpu.memory_of_nobody", "gpu.memory_left_behind", "driver.versions_differ",
})  # fmt: skip
_OWNERS = {kind: one.owner for one in families() for kind in one.kinds}


def read(host: Host, **params: Any) -> tuple[list[dict[str, Any]], dict[str, str]]:
    answer = host.agent("read", {"reading": "residue", "params": params}, timeout_s=60)
    assert "error" not in answer, answer
    return answer["values"]["findings"], answer["unknown"]


@pytest.fixture(scope="module")
def littered(machine: None) -> Iterator[Bench]:  # noqa: ARG001 (it says that the machine can)
    """Give two hosts of this module's own, since what is planted is not taken away again."""
    bench = Bench(BENCHES / f"residue-{me().pid}")
    bench.up(2)
    try:
        yield bench
    finally:
        bench.down()


def test_a_host_as_it_boots_has_no_residue_and_says_what_it_could_not_look_at(host: Host) -> None:
    findings, unknown = read(host)
    assert findings == []
    # This machine shows its containers neither a board's clock nor the kernel's debugging files.
    assert set(unknown) == {"clock", "kernel"}


def test_a_live_lease_is_no_residue(host: Host) -> None:
    apply(host, "alive-cap")
    apply(host, "alive-fill", fault="gpu.memory.fill", gpu=1)
    assert read(host)[0] == []


def test_everything_that_is_planted_is_found(littered: Bench) -> None:
    first, second = littered.hosts
    for host in (first, second):
        apply(host, "ended")
        host.agent("undo", {"lease": "ended"})
        host.run([AGENT, "install-units"], check=True)
        host.run(["bash"], PREPARE, check=True)
        assert read(host)[0] == []
    for host, plants in ((first, FIRST), (second, LATER)):
        for kind, script in plants.items():
            planted = host.run(["timeout", "10", "bash"], script + "\n")
            assert planted.returncode == 0, f"{kind}: {planted.returncode} {planted.stderr}"
        findings, _ = read(host)
        found = {finding["kind"]: finding for finding in findings}
        assert set(plants) - set(found) == set(), json.dumps(findings, indent=1)
        for kind in plants:
            expected = "unknown" if kind in UNKNOWN_OWNER else _OWNERS[kind]
            assert found[kind]["owner"] == expected, kind
            assert found[kind]["by_hand"]


def test_every_kind_there_is_was_planted_somewhere() -> None:
    planted = {*FIRST, *LATER, *_ELSEWHERE, *(plant.kind for plant in PLANTS), *(kind for kind, _, _ in SETTINGS)}
    assert {kind for one in families() for kind in one.kinds} == planted
