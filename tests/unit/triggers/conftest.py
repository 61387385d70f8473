# SPDX-License-Identifier: Apache-2.0
"""A host of a test's own with the real agent. Where there are no namespaces these tests are left out, never in CI."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from chaosgpu.agent.zipapp import build
from support.needing import Needing
from support.private_host import why_not

_NEEDING = Needing("a host in namespaces", frozenset({"agent", "agent_with"}), why_not, lambda: None)
pytest_collection_modifyitems = _NEEDING.leave_out
pytest_collection_finish = _NEEDING.prepare
pytest_terminal_summary = _NEEDING.tell

type AgentWith = Callable[[str, str, str], Path]


@pytest.fixture(scope="session")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the agent's file."""
    return build(tmp_path_factory.mktemp("agent") / "agent.pyz")


@pytest.fixture
def agent_with(agent: Path, tmp_path: Path) -> AgentWith:
    """Give an agent with a mistake: a line of one of its files is another one."""

    def made(name: str, line: str, other: str) -> Path:
        spoilt = tmp_path / "spoilt.pyz"
        with zipfile.ZipFile(agent) as source, zipfile.ZipFile(spoilt, "w") as target:
            for entry in source.namelist():
                content = source.read(entry).decode()
                if entry == f"chaosgpu/agent/{name}":
                    assert content.count(line) == 1
                    content = content.replace(line, other)
                target.writestr(entry, content)
        spoilt.write_bytes(b"#!/usr/bin/env python3\n" + spoilt.read_bytes())
        spoilt.chmod(0o755)
        return spoilt

    return made
