# SPDX-License-Identifier: Apache-2.0
"""A number that a service tells of itself: where it may be read, how it is found, and when it is not known."""

import http.server
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chaosgpu.agent.errors import BadRequest
from chaosgpu.agent.faults.unit_command import environment_lines, quoted
from chaosgpu.agent.faults.unit_cuda_errors import UnitCudaErrors
from chaosgpu.agent.faults.unit_kv_cache import UnitKvCacheShrink
from chaosgpu.agent.faults.unit_reading import answers, parse_reading
from chaosgpu.agent.faults.unit_state import UnitState
from chaosgpu.agent.systemd import Systemd

_STATE = UnitState({"InvocationID": ("1",)})
_METRICS = 'blocks{instance="a"} 10\nblocks{instance="b"} 12.0\nother 5\n'
_JSON = '{"cache": {"a/b": [7, {"blocks": 31}], "yes": true, "text": "1,024"}}'


@pytest.fixture
def page() -> Iterator[Callable[..., str]]:
    """Serve one page with one status on a free port; give its address."""
    servers: list[http.server.HTTPServer] = []

    def serve(content: str, status: int = 200) -> str:
        class Page(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.end_headers()
                self.wfile.write(content.encode())

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        servers.append(http.server.HTTPServer(("127.0.0.1", 0), Page))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}/x?y=z"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def _read(**how: Any) -> float | None:
    return parse_reading({"blocks": how}, "blocks").read(_STATE, Systemd("/bin/false", "/bin/false", 252))


@pytest.mark.parametrize(
    ("how", "found"),
    [
        ({"pattern": r'^blocks\{instance="a"\} (\S+)$'}, 10),
        ({"pattern": r"^blocks\{.*\} (\S+)$"}, 22),
        ({"pattern": r"^none (\d+)$"}, None),
        ({"pattern": r"^(blocks)"}, None),
    ],
)
def test_a_pattern_takes_the_sum_of_all_its_matches(
    how: dict[str, Any], found: float | None, page: Callable[..., str]
) -> None:
    assert _read(url=page(_METRICS), **how) == found


@pytest.mark.parametrize(
    ("pointer", "found"),
    [("/cache/a~1b/0", 7), ("/cache/a~1b/1/blocks", 31), ("/cache/text", 1024), ("/cache/yes", None), ("/none", None)],
)
def test_a_pointer_finds_one_number(pointer: str, found: float | None, page: Callable[..., str]) -> None:
    assert _read(url=page(_JSON), pointer=pointer) == found


def test_a_service_that_refuses_or_is_not_there_tells_nothing(page: Callable[..., str]) -> None:
    assert _read(url=page(_METRICS, 503), pattern=r"(\d+)") is None
    assert not answers(page("", 404))
    assert answers(page(""))
    assert not answers("http://127.0.0.1:1/")


_WHERE = {"url": "http://127.0.0.1:1/x", "pattern": r"(\d+)"}


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"url": "http://127.0.0.1:1/x"},
        {"pattern": r"(\d+)"},
        {**_WHERE, "log": True},
        {**_WHERE, "pointer": "/x"},
        {"log": True, "pointer": "/x"},
        {**_WHERE, "pattern": r"\d+"},
        {**_WHERE, "pattern": "("},
        {"url": "http://127.0.0.1:1/x", "pointer": "x"},
        {**_WHERE, "url": "http://192.0.2.1:80/x"},
        {**_WHERE, "url": "https://127.0.0.1:1/x"},
        {**_WHERE, "url": "http://127.0.0.1/x"},
        {**_WHERE, "url": "http://user:word@127.0.0.1:1/x"},
        {**_WHERE, "url": "file:///etc/shadow"},
        {**_WHERE, "url": "http://127.0.0.1:port/"},
    ],
)
def test_a_reading_that_is_not_clear_or_asks_another_host_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        parse_reading({"blocks": wrong}, "blocks")


_KV = {"unit": "x.service", "blocks": _WHERE}
_CUDA = {"unit": "x.service", "code": 700}


@pytest.mark.parametrize(
    "wrong",
    [
        _KV,
        {**_KV, "arguments": ["--x"], "environment": {"name": "A", "value": "b"}},
        {**_KV, "arguments": []},
        {**_KV, "arguments": ["--x\n[Service]"]},
        {**_KV, "environment": {"name": "LD_PRELOAD", "value": "/x.so"}},
        {**_KV, "environment": {"name": "A B", "value": "c"}},
        {**_KV, "environment": {"name": "A", "value": "b\nUser=root"}},
        {**_KV, "arguments": ["--x"], "tolerance_percent": 50},
    ],
)
def test_a_shrink_that_is_not_clear_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        UnitKvCacheShrink().parse(wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"unit": "x.service"},
        {**_CUDA, "code": 0},
        {**_CUDA, "code": 1},
        {**_CUDA, "calls": []},
        {**_CUDA, "calls": ["free"]},
        {**_CUDA, "calls": [{}]},
        {**_CUDA, "every": 0},
        {**_CUDA, "library": {"path": "x.so", "sha256": "0" * 64}},
        {**_CUDA, "library": {"path": "/x.so", "sha256": "short"}},
        {**_CUDA, "ready_url": "http://example.org:80/"},
    ],
)
def test_errors_that_are_not_clear_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        UnitCudaErrors().parse(wrong)


def test_what_goes_into_a_drop_in_is_quoted_for_systemd() -> None:
    assert quoted('a "b" \\ 50%') == '"a \\"b\\" \\\\ 50%%"'
    assert environment_lines(A="b c") == ["[Service]", 'Environment="A=b c"']
