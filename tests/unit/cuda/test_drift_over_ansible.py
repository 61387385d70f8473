# SPDX-License-Identifier: Apache-2.0
"""A scan over a real Ansible: every host of an inventory at once, and one that is down is unknown."""

from pathlib import Path

import pytest

from chaosgpu.cli.main import main
from chaosgpu.cuda.facts import Facts, LookAt, take_facts
from chaosgpu.errors import Unreachable
from unit.fleet.conftest import Named, agent, named

__all__ = ["agent", "named"]  # fixtures


def test_hosts_of_an_inventory_are_compared_in_one_round(named: Named, agent: Path) -> None:
    named()
    found = take_facts(["gpu1", "gpu2", "down"], LookAt(sections=["kernel", "packages"]), 60)
    first, second = found["gpu1"], found["gpu2"]
    assert isinstance(first, Facts)
    assert isinstance(second, Facts)
    assert (first.host, second.host) == ("gpu1", "gpu2")
    assert first.values == second.values
    assert isinstance(found["down"], Unreachable)
    assert agent.exists()


def test_a_host_that_the_inventory_does_not_have_is_an_error(
    named: Named,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    named()
    which = ["--inventory", str(tmp_path / "hosts.ini"), "--limit", "gpu_nodes"]
    words = ["drift", "scan", *which, "--hosts", "gpu9"]
    assert main(words) == 2
    assert "The inventory has no host gpu9; it has:" in capsys.readouterr().err
