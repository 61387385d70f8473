# SPDX-License-Identifier: Apache-2.0
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.agent_host import AgentHost


@pytest.fixture
def host(tmp_path: Path) -> Iterator[AgentHost]:
    """A host of the test's own; whatever it started is ended."""
    made = AgentHost(tmp_path)
    yield made
    made.close()
