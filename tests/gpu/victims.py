# SPDX-License-Identifier: Apache-2.0
"""The programs that the tests start on the card, and how each is ended: by its own pid and session, nothing else."""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

__all__ = ["Victim", "kinds", "victim"]

HERE = Path(__file__).parent
STARTS_WITHIN_S = 90.0  # importing torch for the first time reads gigabytes
ANSWERS_WITHIN_S = 30.0


class Victim:
    """One process on the card that obeys orders."""

    def __init__(self, kind: str, uuid: str, folder: Path) -> None:
        self.kind = kind
        self.count_file = folder / f"count-{kind}"
        self.count_file.write_bytes(bytes(8))
        if kind == "cuda":
            words = [sys.executable, str(HERE / "victim.py"), "lines"]
        else:
            words = [os.environ["CHAOSGPU_TORCH_PYTHON"], str(HERE / "torch_victim.py")]
        words += [uuid, str(self.count_file)]
        self.process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True, cwd="/"
        )
        self.pid = self.process.pid
        try:
            assert self._answer(STARTS_WITHIN_S) == {"ready": True}
        except AssertionError:
            self.end()
            raise

    def ask(self, do: str, **order: object) -> dict[str, Any]:
        """Give one order and return the answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": do, **order}) + "\n")
        self.process.stdin.flush()
        return self._answer(ANSWERS_WITHIN_S)

    def count(self) -> int:
        """Return how many pieces of work it has done."""
        return int.from_bytes(self.count_file.read_bytes()[:8], "little")

    def end(self) -> None:
        """Kill it and collect it."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait(10)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()

    def _answer(self, within_s: float) -> dict[str, Any]:
        assert self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], within_s)[0]:
            raise AssertionError(f"The {self.kind} victim {self.pid} did not answer within {within_s:g} s.")
        line = self.process.stdout.readline()
        assert line, f"The {self.kind} victim ended with {self.process.wait(10)}."
        answer: dict[str, Any] = json.loads(line)
        return answer


def kinds() -> list[str]:
    """Return which victims this machine can have: always that in plain CUDA, and that in torch where there is torch."""
    return ["cuda", *(["torch"] if os.environ.get("CHAOSGPU_TORCH_PYTHON") else [])]


@contextmanager
def victim(kind: str, uuid: str, folder: Path) -> Iterator[Victim]:
    """Have a victim for a while."""
    one = Victim(kind, uuid, folder)
    try:
        yield one
    finally:
        one.end()
