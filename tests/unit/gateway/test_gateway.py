# SPDX-License-Identifier: Apache-2.0
"""Resilience of the lab's gateway, both forms, with real aiohttp, tenacity and pybreaker; upstreams are scripted."""

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from chaosgpu import lab
from chaosgpu.errors import BadArgument, ReadingUnknown, Unreachable
from chaosgpu.lab.packages import packages
from chaosgpu.lab.plan import free_port
from chaosgpu.lease.ids import Names
from chaosgpu.lease.ledger import Ledger
from chaosgpu.lease.run import Run, activate, deactivate
from chaosgpu.metrics import actions, probes
from chaosgpu.triton.http import exchange
from unit.gateway.upstreams import Upstreams, upstreams

CHAT = {"upstream": "chat"}


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    (tmp_path / "series").mkdir()
    made = Run("test-run", tmp_path, Ledger(tmp_path / "ledger.jsonl", "test-run", lambda: datetime.now(UTC)), Names())
    activate(made)
    try:
        yield made
    finally:
        deactivate()


@contextmanager
def gateway(form: str) -> Iterator[tuple[str, Upstreams]]:
    """Run the gateway as the lab does, before scripted upstreams."""
    port = free_port()
    program = str(Path(lab.__file__).with_name("gateway"))
    with upstreams() as behind:
        process = subprocess.Popen(
            [sys.executable, program, behind.url, behind.url, "documents", form, str(port)],
            env={"PYTHONPATH": str(packages("gateway", lambda _line: None)), "PYTHONDONTWRITEBYTECODE": "1"},
        )
        url = f"http://127.0.0.1:{port}"
        try:
            while not _up(url):
                assert process.poll() is None
                time.sleep(0.05)
            yield url, behind
        finally:
            process.kill()
            process.wait()


def _up(url: str) -> bool:
    try:
        return exchange(url, "GET", "/health", within_s=1).status == 200
    except Unreachable:
        return False


def ask(url: str) -> int:
    return exchange(url, "POST", "/ask", within_s=30, body=b'{"question": "what of fan"}').status


def ask_at_once(url: str, count: int) -> list[int]:
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda _: ask(url), range(count)))


def test_the_hardened_gateway_honours_its_deadline_bounds_its_retries_sheds_and_its_breaker_opens_and_closes(
    run: Run,
) -> None:
    with gateway("hardened") as (url, behind):
        assert ask(url) == 200
        actions.note_metrics(url)
        behind.chat = "hang"
        hung = ask_at_once(url, 40)
        assert set(hung) <= {502, 503, 504}
        # By the gateway's own clock: on a busy machine it is this test that comes late.
        answered = probes.metric_change(url, "gateway_request_seconds_count", since="start")
        assert probes.metric_change(url, "gateway_request_seconds_bucket", {"le": "2.0"}, since="start") == answered
        # Thirty-two may be under way; the rest is turned away at once.
        shed = probes.metric_change(url, "gateway_requests_shed_total", since="start")
        assert shed == 40 - answered > 0
        assert probes.breaker(url, CHAT, since="start")["opened"] >= 1
        # A retry for every tenth call, and five in hand.
        calls = probes.metric_change(url, "gateway_calls_total", CHAT, since="start")
        assert 1 <= probes.retry_amplification(url, CHAT, since="start") <= 1 + (5 + calls / 10) / calls
        assert not probes.breaker_opened_and_closed(url, CHAT)
        behind.chat = "answer"
        behind.may_go_on.set()
        time.sleep(1.1)
        assert ask(url) == 200
        assert probes.breaker_opened_and_closed(url, CHAT)
        assert probes.breaker(url, {"upstream": "store"}) == {"opened": 0, "closed": 0, "open_now": 0}
    assert (run.directory / "series/metrics-start.json").exists()


def test_the_fragile_gateway_asks_four_times_for_each_call_and_turns_nobody_away(run: Run) -> None:
    with gateway("fragile") as (url, behind):
        actions.note_metrics(url, name="before")
        behind.chat = "fail"
        assert Counter(ask_at_once(url, 20)) == {502: 20}
        assert probes.retry_amplification(url, CHAT, since="before") == 4
        # A hypothesis asks before its method has noted anything, too; from then on an earlier storm does not count.
        assert probes.retry_amplification(url, CHAT, since="later", if_noted=True) == 4
        with pytest.raises(BadArgument, match="No metrics were noted under 'later'"):
            probes.retry_amplification(url, CHAT, since="later")
        actions.note_metrics(url, name="later")
        with pytest.raises(ReadingUnknown, match="has not risen since 'later' was noted"):
            probes.retry_amplification(url, CHAT, since="later", if_noted=True)
        assert probes.metric_ratio(url, "gateway_failures_total", "gateway_attempts_total", CHAT, since="before") == 1
        assert not probes.breaker_opened_and_closed(url, CHAT, since="before")
        with pytest.raises(BadArgument, match="No metrics were noted under 'start'"):
            probes.metric_change(url, "gateway_requests_total", since="start")
        with pytest.raises(ReadingUnknown, match="absent is not zero"):
            probes.metric_value(url, "gateway_reqs")
    assert run.id == "test-run"


def test_a_question_that_is_none_is_refused(run: Run) -> None:
    with gateway("hardened") as (url, _):
        answer = exchange(url, "POST", "/ask", within_s=5, body=b'{"question": 5}')
        assert answer.status == 400
        assert answer.error() == "question must be a text of 1 to 500 characters"
    assert run.id == "test-run"
