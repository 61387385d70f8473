# SPDX-License-Identifier: Apache-2.0
"""Simulated GPUs for a test, and processes on them."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chaosgpu.sim import instance

PEER = Path(__file__).with_name("peer.py")


class Raised(Exception):
    """NVML raised this in the other process."""


class Peer:
    """A process that uses the GPUs; call it with an expression of `peer.py`."""

    def __init__(self, gpus: instance.Instance, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(PEER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **gpus.environment(), **environment},
            start_new_session=True,
        )
        self.pid = self.process.pid

    def send(self, expression: str) -> None:
        """Ask without waiting for the answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(expression) + "\n")
        self.process.stdin.flush()

    def answer(self) -> Any:
        """Wait for the answer to what was asked."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the process ended with {self.process.wait()}"
        answer = json.loads(line)
        if "raised" in answer:
            raise Raised(answer["raised"])
        assert "failed" not in answer, answer["failed"]
        return answer["value"]

    def __call__(self, expression: str) -> Any:
        """Ask and wait."""
        self.send(expression)
        return self.answer()

    def outcome(self, expression: str) -> Any:
        """Give the value, or the name of what NVML raised."""
        try:
            return self(expression)
        except Raised as raised:
            return str(raised)

    def kill(self) -> None:
        """End it without a chance to clean up."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """End it and whatever it started."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()


type Make = Callable[..., instance.Instance]
type Start = Callable[..., Peer]


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Give a folder that every user can reach, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="chaosgpu-test-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Make simulated GPUs: a product, a number, and what `create` takes. Everybody is root unless said otherwise."""
    made: list[instance.Instance] = []

    def make_one(profile: str = "h100", gpus: int = 1, **options: Any) -> instance.Instance:
        folder = options.pop("folder", tmp_path) / f"gpus{len(made)}"
        made.append(instance.create(folder, profile, gpus, **{"seed": 1, "simulated_root": True, **options}))
        return made[-1]

    yield make_one
    for one in made:
        one.remove()


@pytest.fixture
def start() -> Iterator[Start]:
    """Start processes on simulated GPUs."""
    peers: list[Peer] = []

    def start_one(gpus: instance.Instance, **environment: str) -> Peer:
        peers.append(Peer(gpus, **environment))
        return peers[-1]

    yield start_one
    for peer in peers:
        peer.close()
