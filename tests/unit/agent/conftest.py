# SPDX-License-Identifier: Apache-2.0
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.agent_host import AgentHost


@pytest.fixture
def host(tmp_path: Path) -> Iterator[AgentHost]:
    """Give the test a host of its own; whatever it started is ended."""
    made = AgentHost(tmp_path)
    yield made
    made.close()
