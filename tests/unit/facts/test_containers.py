# SPDX-License-Identifier: Apache-2.0
"""The toolkit, CDI and the images that run, asked of an engine's own socket within a deadline."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chaosgpu.agent.facts import containers as module
from chaosgpu.agent.facts.containers import containers, images
from chaosgpu.agent.facts.packages import Packages
from chaosgpu.agent.facts.tree import Tree, UnknownFact
from chaosgpu.agent.values import JsonValue
from support.host_tree import write

type Serve = Callable[[Callable[[str], bytes]], str]

_ANSWERS: dict[str, JsonValue] = {
    "/containers/json": [
        {"Id": "aa", "Names": ["/triton"], "Image": "nvcr.io/nvidia/tritonserver:25.10-py3", "ImageID": "sha256:11"},
        {"Id": "bb" * 10, "Names": [], "Image": "built-here", "ImageID": "sha256:22"},
        {"Id": "cc", "Names": ["/two"], "Image": "nvcr.io/nvidia/tritonserver:25.10-py3", "ImageID": "sha256:11"},
    ],
    "/images/sha256:11/json": {"RepoDigests": ["nvcr.io/nvidia/tritonserver@sha256:dd"]},
    "/images/sha256:22/json": {"RepoDigests": []},
}


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Serve one answer a connection on a real socket."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    path = str(tmp_path / "engine.sock")

    def begin(answer: Callable[[str], bytes]) -> str:
        listening.bind(path)
        listening.listen(8)

        def loop() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection, contextlib.suppress(BrokenPipeError):
                    wanted = connection.recv(4096).split(b" ")[1].decode()
                    connection.sendall(answer(wanted))

        threading.Thread(target=loop, daemon=True).start()
        return path

    yield begin
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()


def _http(body: bytes, head: str = "HTTP/1.0 200 OK") -> bytes:
    return f"{head}\r\nContent-Type: application/json\r\n\r\n".encode() + body


def _ask(path: str, within_s: float = 5.0) -> Callable[[str], JsonValue]:
    end = time.monotonic() + within_s
    return lambda what: module._get(path, what, end)


def test_running_containers_are_named_with_the_digest_of_their_image(serve: Serve) -> None:
    path = serve(lambda wanted: _http(json.dumps(_ANSWERS[wanted]).encode()))
    assert images(_ask(path)) == {
        "triton": {"image": "nvcr.io/nvidia/tritonserver:25.10-py3", "digest": "sha256:dd"},
        "bbbbbbbbbbbb": {"image": "built-here", "digest": "sha256:22"},
        "two": {"image": "nvcr.io/nvidia/tritonserver:25.10-py3", "digest": "sha256:dd"},
    }


def test_an_answer_in_chunks_is_read_whole(serve: Serve) -> None:
    chunked = b"1\r\n[\r\n1\r\n]\r\n0\r\n\r\n"
    path = serve(lambda _: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked)
    assert images(_ask(path)) == {}


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (_http(b"{}", "HTTP/1.0 500 Internal Server Error"), "500 Internal Server Error"),
        (_http(b"no json"), "with no JSON"),
        (b"", "answered ''"),
    ],
)
def test_an_engine_that_answers_anything_else_is_unknown(serve: Serve, answer: bytes, why: str) -> None:
    path = serve(lambda _: answer)
    with pytest.raises(UnknownFact, match=why):
        images(_ask(path))


def test_an_engine_that_hangs_is_unknown_at_the_deadline(serve: Serve) -> None:
    over = threading.Event()
    path = serve(lambda _: b"" if over.wait(20) else b"late")
    start = time.monotonic()
    with pytest.raises(UnknownFact, match="did not answer within"):
        images(_ask(path, within_s=0.2))
    over.set()
    assert time.monotonic() - start < 3


def test_no_engine_and_a_tree_of_files_are_unknown(tmp_path: Path) -> None:
    found = containers(Tree(str(tmp_path)), None)
    assert found.unknown["images"] == "containers run on a host, and this is a tree of files"
    assert found.unknown["toolkit"] == "the packages of this host are unknown"
    assert "no CDI specification" in str(found.unknown["cdi_driver"])


def test_the_toolkit_and_the_promised_driver_are_read(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "/etc/cdi/nvidia.yaml": "mounts:\n- hostPath: /usr/lib/x86_64-linux-gnu/libcuda.so.580.95.05\n",
            "/etc/nvidia-container-runtime/config.toml": "[nvidia-container-cli]\n",
        },
    )
    packages = Packages({"nvidia-container-toolkit": "1.18.0-1", "libnvidia-container1": "1.17.8-1"}, (), {})
    found = containers(Tree(str(tmp_path)), packages, lambda _: [])
    assert found.values["cdi_driver"] == "580.95.05"
    assert found.values["toolkit"] == "1.18.0-1"
    assert found.values["toolkit_packages"] == dict(sorted(packages.versions.items(), reverse=True))
    assert len(str(found.values["runtime_config"])) == 16
    assert found.unknown == {}
