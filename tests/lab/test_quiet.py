# SPDX-License-Identifier: Apache-2.0
"""What needs a lab without traffic: dead model processes, and a pool that breaks up inside the model."""

from collections.abc import Callable, Iterator

import pytest

from chaosgpu.errors import AnswerWrong
from chaosgpu.lab.plan import LabPlan
from chaosgpu.lease.run import Run
from chaosgpu.triton import actions, api, probes
from chaosgpu.triton.tensors import Tensor
from lab.helpers import kill, stubs_of, until


@pytest.fixture(autouse=True)
def lab_environment(quiet: LabPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAOSGPU_CANARY", quiet.exported["CHAOSGPU_CANARY"])


@pytest.fixture
def pooled(quiet: LabPlan, guarded_run: Run) -> Iterator[str]:
    assert guarded_run.id == "test-run"
    actions.load_model(quiet.url, "chat_pooled")
    yield quiet.url
    actions.unload_model(quiet.url, "chat_pooled")


def test_a_fragmented_pool_refuses_a_large_request_with_plenty_of_bytes_free(pooled: str) -> None:
    def ask(tokens: int, keep_s: float) -> None:
        inputs = (
            Tensor("TOKENS", "INT32", (1, tokens), (65,) * tokens),
            Tensor("KEEP_S", "FP32", (1, 1), (keep_s,)),
        )
        api.infer(pooled, "chat_pooled", inputs, 5)

    large = 160
    ask(large, 0)  # fits while the pool is whole
    before = _pool(pooled)
    assert before["lab_pool_largest_free_bytes"] == before["lab_pool_free_bytes"]
    for turn in range(64):  # contexts of long and of short life, in turn, until the pool is full
        ask(8, 60.0 if turn % 2 else 3.0)
    half = before["lab_pool_free_bytes"] * 0.45
    assert until(lambda: _fits(lambda: ask(8, 0)) and _pool(pooled)["lab_pool_free_bytes"] > half, 8)
    after = _pool(pooled)
    assert after["lab_pool_largest_free_bytes"] < before["lab_pool_free_bytes"] * 0.1
    with pytest.raises(AnswerWrong, match="in one piece"):
        ask(large, 0)


def _fits(ask: Callable[[], None]) -> bool:
    try:
        ask()
    except AnswerWrong:
        return False
    return True


def _pool(url: str) -> dict[str, float]:
    page = api.metrics(url, None, 5)
    lines = [line.split() for line in page.splitlines() if line.startswith("lab_pool_")]
    return {name.partition("{")[0]: float(value) for name, value in lines}


def test_an_unloaded_model_is_not_ready_and_not_right_until_it_is_loaded_again(
    quiet: LabPlan, guarded_run: Run
) -> None:
    assert guarded_run.id == "test-run"
    unloaded = actions.unload_model(quiet.url, "chat")
    assert unloaded == {"model": "chat", "state": "unloaded", "before": "READY"}
    assert not probes.model_is_ready(quiet.url, "chat")
    assert "not loaded" in probes.canary(quiet.url, "chat")["why"]
    assert actions.load_model(quiet.url, "chat") == {"model": "chat", "state": "READY"}
    assert probes.canary_is_right(quiet.url, "chat")


def test_dead_model_processes_leave_health_green_and_the_canary_wrong(quiet: LabPlan) -> None:
    """The last test of this lab: Triton 2.51 does not always get over the death of its model processes."""
    for pid in stubs_of(quiet):
        kill(pid)
    assert probes.server_is_live(quiet.url)
    assert probes.server_is_ready(quiet.url)
    assert probes.model_is_ready(quiet.url, "chat")
    found = probes.canary(quiet.url, "chat", within_s=3)
    assert not found["right"]
    assert "is not healthy" in found["why"]
