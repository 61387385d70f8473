# SPDX-License-Identifier: Apache-2.0
"""What one command sets for its process must not outlive a test that calls it in this one."""

from collections.abc import Iterator

import pytest

from chaosgpu.fleet import targets


@pytest.fixture(autouse=True)
def _inventory_of_this_test_alone() -> Iterator[None]:
    yield
    targets.set_inventory(None)
