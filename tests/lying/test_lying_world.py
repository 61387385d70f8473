# SPDX-License-Identifier: Apache-2.0
"""A sample of the lying world: every third kind of sabotage, none of it passes; the whole is benchmarks/lies.py."""

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from chaosgpu.agent.faults.contract import Restored
from chaosgpu.agent.faults.setting import GpuSetting
from lying import runs
from lying.forker import Forker
from lying.runs import Lie, Told
from lying.sabotage import SABOTAGES
from lying.world import FAULTS

_WORKERS = 4


@pytest.fixture(scope="module")
def told() -> list[tuple[Lie, Told]]:
    sample = runs.sample()
    with ProcessPoolExecutor(_WORKERS, multiprocessing.get_context("spawn")) as pool:
        shares = pool.map(runs.play_all, [sample[start::_WORKERS] for start in range(_WORKERS)])
        return [pair for share in shares for pair in share]


@pytest.mark.timeout(300)
def test_no_sabotaged_run_passes_and_each_gets_the_verdict_that_fits(told: list[tuple[Lie, Told]]) -> None:
    lied = [(lie, outcome) for lie, outcome in told if lie.sabotage is not None]
    assert len(lied) >= len(SABOTAGES) // 3 >= 14
    assert [(lie.key, outcome) for lie, outcome in lied if not outcome.right] == []


@pytest.mark.timeout(300)
def test_every_honest_run_passes_and_leaves_the_gpu_as_it_was(told: list[tuple[Lie, Told]]) -> None:
    honest = [(lie, outcome) for lie, outcome in told if lie.sabotage is None]
    assert {lie.fault for lie, _ in honest} == set(FAULTS[::2])
    assert [(lie.key, outcome) for lie, outcome in honest if not outcome.right or outcome.changed] == []


@pytest.fixture
def trusting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Forker]:
    """Give an agent that believes every setter, when it sets and when it puts back."""
    monkeypatch.setattr(GpuSetting, "verify", lambda *_: {"set": True})
    monkeypatch.setattr(GpuSetting, "restored", lambda *_: Restored(clean=True, values={"set": True}))
    forker = Forker(tmp_path)
    yield forker
    forker.end()


@pytest.mark.parametrize("lie", ["the setter says yes and does nothing", "the undo's setter says yes and does nothing"])
def test_an_agent_that_believes_a_setter_is_found_by_the_same_runs(lie: str, trusting: Forker, tmp_path: Path) -> None:
    outcome = runs.play(Lie(0, lie, "gpu.power.cap"), tmp_path, trusting)
    assert (outcome.verdict, outcome.right) == ("passed", False)
