# SPDX-License-Identifier: Apache-2.0
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.agent_host import AgentHost
from support.service_desk import ServiceHost


@pytest.fixture
def host(tmp_path: Path) -> Iterator[ServiceHost]:
    """Give the test a host in service; whatever it started is ended."""
    agent = AgentHost(tmp_path)
    yield ServiceHost(agent)
    agent.close()
