# SPDX-License-Identifier: Apache-2.0
import random
from itertools import pairwise

import pytest

from chaosgpu.traffic.schedule import due_times_s


def test_steady_requests_are_due_at_equal_gaps_and_no_error_adds_up() -> None:
    due = list(due_times_s(300, 100, "steady", random.Random(1)))
    assert len(due) == 30_000
    assert due[0] == 0
    assert due[29_999] == pytest.approx(29_999 / 300, abs=1e-12)


def test_poisson_requests_keep_the_rate_and_their_gaps_differ() -> None:
    due = list(due_times_s(100, 100, "poisson", random.Random(1)))
    gaps = [after - before for before, after in pairwise(due)]
    assert len(due) == pytest.approx(10_000, rel=0.05)
    assert min(gaps) < 0.001
    assert max(gaps) > 0.03


def test_a_seed_gives_the_same_schedule_again() -> None:
    assert list(due_times_s(5, 9, "poisson", random.Random(3))) == list(due_times_s(5, 9, "poisson", random.Random(3)))
