# SPDX-License-Identifier: Apache-2.0
"""Calls that fail: a sample. What is told stays true, and the host alone gets clean."""

import multiprocessing
import os
import subprocess
from concurrent.futures import ProcessPoolExecutor

import pytest

from chaosgpu.selfdrill import failing
from chaosgpu.selfdrill.host import BOUND_S, FILE, LOCK
from crash import sample


@pytest.mark.timeout(300)
def test_a_call_that_fails_leaves_nothing_and_makes_no_answer_a_lie() -> None:
    shares = [(FILE, 12), (LOCK, 10), ("gpu.power.cap", 10)]
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        struck = [
            found for share in pool.map(sample.strike_failing_share, *zip(*shares, strict=True)) for found in share
        ]
    assert [(point.key, outcome.residue) for point, outcome in struck if outcome.residue] == []
    assert len(struck) == sum(count for _, count in shares)
    assert [point.key for point, outcome in struck if not outcome.hit] == []
    assert max(outcome.late_s for _, outcome in struck) <= BOUND_S
    assert sum(outcome.in_force for _, outcome in struck) >= 3


def test_what_an_ill_keeper_asks_is_not_left_and_what_another_process_runs_is() -> None:
    asked = subprocess.Popen(["sleep", "60"])
    line = f"process {asked.pid}: sleep 60"
    try:
        assert failing.is_question(line, [os.getpid()])
        assert not failing.is_question(line, [])
    finally:
        asked.kill()
        asked.wait()
    assert failing.is_question(line, [])  # it has ended meanwhile
    assert not failing.is_question("lock /run/x", [os.getpid()])
