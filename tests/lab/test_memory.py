# SPDX-License-Identifier: Apache-2.0
"""The incident: memory is gone. The fragile service hangs under a green health check, the hardened one does not."""

import json
import threading
import time
from pathlib import Path

import pytest

from chaosgpu.errors import AnswerWrong, Refused, Unreachable
from chaosgpu.lab.plan import LabPlan
from chaosgpu.lab.variants import LONG_TOKENS
from chaosgpu.triton import api, probes
from chaosgpu.triton.tensors import Tensor
from lab.helpers import memory_filled, until

_LONG = (Tensor("TOKENS", "INT32", (1, LONG_TOKENS), (65,) * LONG_TOKENS),)


def _long_request(url: str, outcomes: list[str], within_s: float) -> None:
    try:
        api.infer(url, "chat", _LONG, within_s)
        outcomes.append("answered")
    except (AnswerWrong, Refused, Unreachable) as error:
        outcomes.append(str(error))


class LongRequests:
    """Four users with long contexts at once, as many as there are instances."""

    def __init__(self, url: str, within_s: float) -> None:
        self.outcomes: list[str] = []
        self._users = [
            threading.Thread(target=_long_request, args=(url, self.outcomes, within_s), daemon=True) for _ in range(4)
        ]
        for user in self._users:
            user.start()

    def ended(self) -> list[str]:
        """Wait for all of them."""
        for user in self._users:
            user.join()
        return self.outcomes


def _starved(fragile: LabPlan) -> bool:
    """Wait until every instance of the fragile service holds a request that waits for memory."""
    return until(lambda: probes.progress(fragile.url, "chat", window_s=1)["hung"] is True, 15)


def _recovered(fragile: LabPlan) -> bool:
    return until(lambda: probes.canary_is_right(fragile.url, "chat", within_s=2), 20)


def test_the_fragile_service_hangs_while_health_stays_green_and_recovers_by_itself(
    fragile: LabPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAOSGPU_CANARY", fragile.exported["CHAOSGPU_CANARY"])
    assert probes.canary_is_right(fragile.url, "chat")
    with memory_filled(fragile, leave_free_percent=2):
        users = LongRequests(fragile.url, within_s=20)
        assert _starved(fragile)
        assert not probes.canary_is_right(fragile.url, "chat", within_s=1)
        assert probes.server_is_live(fragile.url)
        assert probes.server_is_ready(fragile.url)
        assert probes.model_is_ready(fragile.url, "chat")
        assert probes.pending_count(fragile.url, "chat") > 0
    assert _recovered(fragile)
    assert "answered" in users.ended()
    assert probes.progress(fragile.url, "chat", window_s=1)["hung"] is False


def test_the_hardened_service_refuses_the_long_and_goes_on_answering_the_short(
    hardened: LabPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAOSGPU_CANARY", hardened.exported["CHAOSGPU_CANARY"])
    with memory_filled(hardened, leave_free_percent=2):
        started = time.monotonic()
        refused = LongRequests(hardened.url, within_s=5).ended()
        assert time.monotonic() - started < 3
        assert all("no GPU memory for a KV cache" in outcome for outcome in refused), refused
        found = [probes.canary(hardened.url, "chat", within_s=2) for _ in range(20)]
        assert [one["why"] for one in found if not one["right"]] == []
    assert LongRequests(hardened.url, within_s=5).ended() == ["answered"] * 4


def test_both_variants_know_the_same_answers(fragile: LabPlan, hardened: LabPlan) -> None:
    found = probes.canary(hardened.url, "chat", golden=fragile.exported["CHAOSGPU_CANARY"])
    assert found["right"], found["why"]


def test_a_watch_sees_the_health_check_and_the_canary_part(
    fragile: LabPlan, guarded_run: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert guarded_run is not None
    for name, value in fragile.exported.items():
        monkeypatch.setenv(name, value)
    with memory_filled(fragile, leave_free_percent=2):
        users = LongRequests(fragile.url, within_s=20)
        assert _starved(fragile)
        seen = probes.watch(fragile.url, "chat", fragile.gpu, duration_s=1.5, interval_s=0.5, within_s=0.5)
    assert seen["samples"] >= 2
    assert seen["ready_true"] == seen["samples"]
    assert seen["canary_right"] == 0
    assert seen["first_wrong_after_s"] == 0
    assert seen["recovered_after_s"] is None
    assert seen["max_pending"] > 0
    samples = [json.loads(line) for line in Path(str(seen["series"])).read_text().splitlines()]
    assert len(samples) == seen["samples"]
    assert all(sample["vram_used_percent"] > 95 for sample in samples)
    assert _recovered(fragile)
    users.ended()
