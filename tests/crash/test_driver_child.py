# SPDX-License-Identifier: Apache-2.0
"""The driver's child of an undo dies, as the kernel kills when memory runs out: the fault must go all the same."""

import pytest

from crash.sample import Share, strike_share


@pytest.mark.timeout(300)
def test_an_undo_whose_drivers_child_is_killed_still_puts_back() -> None:
    struck = strike_share(Share("gpu.power.cap", ("undo",), ("agent.1",), 6))
    assert [(point.key, outcome.residue) for point, outcome in struck if outcome.residue] == []
    assert len(struck) == 6
    assert [point.key for point, outcome in struck if not outcome.hit] == []
