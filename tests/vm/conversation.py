# SPDX-License-Identifier: Apache-2.0
"""Talking to a virtual machine past its network: a shell on its second serial port, and QEMU's own monitor."""

import base64
import json
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.plan import BenchFailed

__all__ = ["Monitor", "Said", "Shell"]


@dataclass(frozen=True)
class Said:
    """What a command there came to."""

    status: int
    out: str
    err: str


class Shell:
    """One command at a time; `boot` is the boot id that the machine last said."""

    def __init__(self, path: Path, alive: Callable[[], object]) -> None:
        self._path, self._alive = path, alive
        self._socket: socket.socket | None = None
        self._left = b""
        self._count = 0
        self.boot = ""

    def wait_ready(self, within_s: float, *, other_than: str = "") -> str:
        """Wait until the shell of a start of the machine greets; return the boot id that it says."""
        end_s = time.monotonic() + within_s
        while True:
            words = self._line(end_s)
            if words[0] == "ready" and words[1] != other_than:
                self.boot = words[1]
                return self.boot

    def run(self, script: str, within_s: float) -> Said:
        """Run a script there; `within_s` counts on its clock, and ten times as long on ours."""
        self._count += 1
        line = f"{self._count} {within_s:g} {base64.b64encode(script.encode()).decode()}\n"
        self._connected().sendall(line.encode())
        end_s = time.monotonic() + 10 * within_s
        while True:
            words = self._line(end_s)
            if words[:2] == ["done", str(self._count)]:
                out, err = (base64.b64decode(word[1:]).decode(errors="replace") for word in words[3:5])
                return Said(int(words[2]), out, err)

    def tell(self, script: str) -> None:
        """Start a script there and do not wait for its end."""
        self._count += 1
        self._connected().sendall(f"{self._count} 60 {base64.b64encode(script.encode()).decode()}\n".encode())

    def close(self) -> None:
        """Hang up: the machine is off."""
        if self._socket is not None:
            self._socket.close()
        self._socket, self._left = None, b""

    def _line(self, end_s: float) -> list[str]:
        while b"\n" not in self._left:
            if time.monotonic() > end_s or not self._alive():
                raise BenchFailed("The virtual machine's shell said nothing in time, or the machine has ended.")
            try:
                self._left += self._connected().recv(65536)
            except TimeoutError:
                continue
            except OSError:
                self.close()
        line, _, self._left = self._left.partition(b"\n")
        return [*line.decode(errors="replace").strip().split(" "), "", "", "", "", ""]

    def _connected(self) -> socket.socket:
        while self._socket is None:
            try:
                self._socket = _connect(self._path)
            except OSError:
                if not self._alive():
                    raise BenchFailed("The virtual machine has ended.") from None
                time.sleep(0.05)
        return self._socket


class Monitor:
    """QEMU's monitor, one question a connection."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def ask(self, command: str, **arguments: Any) -> Any:
        """Ask, and return the answer."""
        with _connect(self._path) as link, link.makefile("rwb") as talk:
            link.settimeout(20.0)
            talk.readline()
            for name, values in (("qmp_capabilities", {}), (command, arguments)):
                talk.write(json.dumps({"execute": name, "arguments": values}).encode() + b"\n")
                talk.flush()
                answer: dict[str, Any] = {}
                while not answer.keys() & {"return", "error"}:  # events come in between
                    answer = json.loads(talk.readline())
        if "error" in answer:
            raise BenchFailed(f"QEMU does not {command}: {answer['error']}")
        return answer["return"]


def _connect(path: Path) -> socket.socket:
    link = socket.socket(socket.AF_UNIX)
    link.settimeout(0.5)
    try:
        link.connect(str(path))
    except OSError:
        link.close()
        raise
    return link
