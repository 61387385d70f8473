# SPDX-License-Identifier: Apache-2.0
"""A real Ansible and a small inventory: hosts that are this machine, one that is down, and groups of them."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chaosgpu.agent import zipapp
from chaosgpu.fleet.ask import use_inventory
from chaosgpu.fleet.inventory import Inventory, named_inventory

INVENTORY = """\
[gpu_nodes]
gpu1 ansible_connection=local
gpu2 ansible_connection=local
down ansible_host=127.0.0.1 ansible_port=1

[nobody]

[with_localhost]
gpu1
localhost ansible_connection=local

[all:vars]
ansible_python_interpreter={python}
"""
POLICY = '{"version": 1, "permit": ["*"], "max_duration_s": 600}\n'

type Named = Callable[..., Inventory]


@pytest.fixture
def named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Named]:
    """Write the inventory, and use it as an experiment's configuration would say; more keys may be given."""
    path = tmp_path / "hosts.ini"
    path.write_text(INVENTORY.format(python=sys.executable))
    monkeypatch.chdir(tmp_path)

    def use(**more: object) -> Inventory:
        given = {"chaosgpu_inventory": "hosts.ini", "chaosgpu_agent_path": str(tmp_path / "agent.pyz"), **more}
        inventory = named_inventory(given)
        assert inventory is not None
        use_inventory(inventory)
        return inventory

    yield use
    use_inventory(None)


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Build the agent's file where the inventory says that it is, with a home of its own."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "policy.json").write_text(POLICY)
    monkeypatch.setenv("CHAOSGPU_AGENT_HOME", str(home))
    return zipapp.build(tmp_path / "agent.pyz")
