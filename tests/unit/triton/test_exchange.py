# SPDX-License-Identifier: Apache-2.0
"""One exchange against servers that misbehave: each gets one sentence, in time."""

import time

import pytest

from chaosgpu.errors import BadArgument, ReadingUnknown, Unreachable
from chaosgpu.triton import api, probes
from chaosgpu.triton import http as triton_http
from chaosgpu.triton.http import TooSlow, exchange
from unit.triton.services import closed_port, drips, pages, raw, says

_OK = b"HTTP/1.1 200 OK\r\n"


def test_a_server_that_is_down_is_said_to_be() -> None:
    with pytest.raises(Unreachable, match="Connection refused; is the server running"):
        exchange(closed_port(), "GET", "/v2/health/live", within_s=2)


def test_the_deadline_counts_for_the_whole_answer_and_not_for_each_piece_of_it() -> None:
    with raw(drips(_OK + b"Content-Length: 1000\r\n\r\n", 0.05, 40)) as url:
        started = time.monotonic()
        with pytest.raises(TooSlow, match=r"no whole answer within 0\.3 s"):
            exchange(url, "GET", "/v2", within_s=0.3)
        assert time.monotonic() - started < 0.8


def test_the_deadline_counts_for_the_headers_too() -> None:
    with raw(drips(_OK + b"X-Slow: ", 0.05, 40)) as url, pytest.raises(TooSlow):
        exchange(url, "GET", "/v2", within_s=0.3)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (b"", "closed the connection without an answer"),
        (b"\x00\xff garbage \r\n\r\n", "what came back is not HTTP"),
        (_OK + b"Content-Length: 100\r\n\r\nonly this", "in the middle of its answer, after 9 bytes"),
        (_OK + b"Transfer-Encoding: chunked\r\n\r\nff\r\nshort", "in the middle of its answer, after"),
        (_OK + b"X: " + b"y" * 70000 + b"\r\n\r\n", "what came back is not HTTP"),
    ],
)
def test_an_answer_that_is_none_is_said_in_a_sentence(answer: bytes, sentence: str) -> None:
    with raw(says(answer)) as url, pytest.raises(Unreachable, match=sentence):
        exchange(url, "GET", "/v2", within_s=2)


def test_an_endless_answer_is_not_read_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton_http, "MAX_ANSWER_BYTES", 1 << 20)
    with raw(says(_OK + b"\r\n" + b"x" * (2 << 20))) as url, pytest.raises(Unreachable, match="larger than 1 MiB"):
        exchange(url, "GET", "/v2", within_s=5)


@pytest.mark.parametrize("url", ["", "localhost:8000", "https://host:1", "http://", "http://h:x", "http://h/v2", 8000])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(BadArgument, match="url must be"):
        probes.server_is_ready(url)


def test_a_health_probe_is_false_where_no_answer_comes() -> None:
    assert not probes.server_is_live(closed_port())
    with raw(says(b"garbage\r\n\r\n")) as url:
        assert not probes.server_is_ready(url)
    with raw(drips(_OK, 0.05, 20)) as url:
        assert not probes.server_is_ready(url, timeout_s=0.2)


def test_json_that_is_none_or_of_the_wrong_form_is_said_in_a_sentence() -> None:
    with (
        pages({("GET", "/v2/models/chat/config"): lambda: (200, "<html>")}) as url,
        pytest.raises(Unreachable, match="is not JSON: '<html>'"),
    ):
        api.config(url, "chat", 2)
    with (
        pages({("GET", "/v2/models/chat/config"): lambda: (200, [1])}) as url,
        pytest.raises(Unreachable, match="not an object"),
    ):
        api.config(url, "chat", 2)


def test_a_repository_that_is_gone_is_not_taken_for_an_unknown_model() -> None:
    gone = {"error": "failed to poll model repository"}
    with (
        pages({("POST", "/v2/repository/index"): lambda: (500, gone)}) as url,
        pytest.raises(Unreachable, match="failed to poll model repository"),
    ):
        api.model_state(url, "chat", 2)


def test_an_absent_gauge_is_unknown_and_a_zero_is_zero() -> None:
    page = 'nv_inference_pending_request_count{model="chat",version="1"} 0\nnv_other{model="x"} 5\n'
    index = [{"name": "chat", "state": "READY"}, {"name": "x", "state": "READY"}]
    table = {("GET", "/metrics"): lambda: (200, page), ("POST", "/v2/repository/index"): lambda: (200, index)}
    with pages({**table}) as url:
        assert probes.pending_count(url, "chat", metrics_url=url) == 0
        with pytest.raises(ReadingUnknown, match="not zero"):
            probes.pending_count(url, "x", metrics_url=url)


def test_versions_of_a_model_are_counted_together() -> None:
    lines = [f'nv_inference_pending_request_count{{model="chat",version="{at}"}} {at}' for at in (1, 2)]
    with pages({("GET", "/metrics"): lambda: (200, "\n".join(lines))}) as url:
        assert probes.pending_count(url, "chat", metrics_url=url) == 3


@pytest.mark.parametrize("model", ["", "../config", "a/b", "a b", None])
def test_a_model_name_that_is_none_is_refused(model: str) -> None:
    with pytest.raises(BadArgument, match="model must be the name"):
        probes.pending_count("http://127.0.0.1:1", model)
