# SPDX-License-Identifier: Apache-2.0
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.agent_host import AgentHost
from support.kernel_steps import Bench, Holder, a_bench, a_holder


@pytest.fixture
def host(tmp_path: Path) -> Iterator[AgentHost]:
    """Give the test a host of its own; whatever it started is ended."""
    made = AgentHost(tmp_path)
    yield made
    made.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Give the test the kernel on a host without processes."""
    with a_bench(tmp_path) as made:
        yield made


@pytest.fixture
def holder() -> Iterator[Holder]:
    """Give the test a process that stands for a holder."""
    with a_holder() as made:
        yield made
