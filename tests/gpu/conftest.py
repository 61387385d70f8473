# SPDX-License-Identifier: Apache-2.0
"""The card, once for the session; and after each test a look that it has left nothing on it."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpu.card import Card, policy_in_force, until


@pytest.fixture(scope="session")
def whole_card() -> Iterator[Card]:
    """Give the card and the policy that permits the tests."""
    with tempfile.TemporaryDirectory(prefix="chaosgpu-gpu-") as folder, policy_in_force(Path(folder)) as home:
        yield Card(home)


@pytest.fixture
def card(whole_card: Card) -> Iterator[Card]:
    """Give the card as a test finds it, and see that it is left so; what is not is undone, and the test fails."""
    before = whole_card.memory().used_mib
    yield whole_card
    left = whole_card.open_leases()
    if left:
        whole_card.ask("undo", all=True)
    free = until(lambda: whole_card.memory().used_mib <= before, 10)
    assert left == [], f"the test left leases open: {left}"
    assert free is not None, f"{whole_card.memory().used_mib} MiB are in use, and {before} were before the test"
