# SPDX-License-Identifier: Apache-2.0
"""Renew the leases of one run, in a process of its own: a dead man's switch, with the standard library alone.

`python -m chaosgpu.lease.renewer`. JSON lines come in from the controller, and their end is the controller's end:
{"command", "operator", "ttl_s"} first, then {"at"} (a sign of progress, stamped by its sender with
CLOCK_BOOTTIME), {"hold": lease, "host"}, {"drop": lease}, {"stop": true}. JSON lines go out: {"renewed": [...]},
{"failed": why}, {"stopped": why}. With "fleet" in the order the command is told on which host each lease is.

A renewal buys time from the last sign of progress, not from now: whatever dies or stands still, and whichever
process that is, no lease outlasts that sign by more than its TTL (and the time that one call to the agent takes).
A controller that was silent for a TTL is never renewed again.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field

__all__ = ["Terms", "main", "now_s"]

_PARTS = 3  # of a TTL between renewals
_SOONER_PARTS = 10  # of a TTL between tries after one that failed
_SHORTEST_S = 0.1  # what the agent takes as a TTL
_CHUNK = 65536

type _Message = dict[str, object]


def now_s() -> float:
    """Return the clock that counts for leases: it goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass
class Terms:
    """What is renewed, until when, and whether at all; times are CLOCK_BOOTTIME."""

    ttl_s: float
    sign_s: float
    next_s: float = 0.0
    paid_s: float = 0.0  # the sign on which was renewed last
    stopped: str | None = None
    leases: dict[str, object] = field(default_factory=dict)  # on which host each is

    def take(self, message: _Message, at_s: float) -> None:
        """Take one message of the controller."""
        if isinstance(at := message.get("at"), (int, float)):
            self._silence(at)
            self.sign_s = max(self.sign_s, min(at, at_s))
        if isinstance(hold := message.get("hold"), str):
            self.next_s = self.next_s if self.leases else at_s + self.ttl_s / _PARTS
            self.leases[hold] = message.get("host")
        if isinstance(drop := message.get("drop"), str):
            self.leases.pop(drop, None)
        if message.get("stop"):
            self.stopped = self.stopped or "the run ends"

    def due_s(self, at_s: float) -> float | None:
        """Return for how many seconds the leases are to be renewed now; None if nothing is due."""
        self._silence(at_s)
        left_s = self.ttl_s - (at_s - self.sign_s)
        fresh = self.sign_s > self.paid_s and left_s >= _SHORTEST_S
        return left_s if fresh and self.leases and self.stopped is None and at_s >= self.next_s else None

    def renewed(self, at_s: float, *, failed: bool) -> None:
        """Plan the next renewal."""
        self.paid_s = self.paid_s if failed else self.sign_s
        self.next_s = at_s + self.ttl_s / (_SOONER_PARTS if failed else _PARTS)

    def _silence(self, until_s: float) -> None:
        """Latch: leases that may have ended in a silence are not to be met alive by a controller that comes back."""
        silent_s = until_s - self.sign_s
        if silent_s >= self.ttl_s and self.stopped is None:
            self.stopped = f"the controller showed no progress for {silent_s:.1f} s"


class Renewer:
    """The process: reads the controller's lines, asks the agent, says how it went."""

    def __init__(self, order: _Message, rest: bytes) -> None:
        command, ttl_s = order["command"], order["ttl_s"]
        if not isinstance(command, list) or not isinstance(ttl_s, (int, float)):
            raise TypeError(f"not an order: {order}")
        self._command = [str(word) for word in command]
        self._operator = str(order["operator"])
        self._fleet = order.get("fleet") is True
        self._rest = rest
        self.terms = Terms(float(ttl_s), now_s())

    def serve(self) -> None:
        """Renew until the controller stops, falls silent or ends."""
        tick_s = self.terms.ttl_s / 20
        open_still = self._read(b"")
        while open_still and self.terms.stopped is None:
            ready, _, _ = select.select([0], [], [], tick_s)
            if ready:
                chunk = os.read(0, _CHUNK)
                open_still = bool(chunk) and self._read(chunk)
            left_s = self.terms.due_s(now_s()) if open_still else None
            if left_s is not None:
                self._renew(left_s)
        say({"stopped": self.terms.stopped or "the controller has ended"})

    def _read(self, chunk: bytes) -> bool:
        """Take the whole lines of what came."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            self.terms.take(json.loads(line), now_s())
        return True

    def _renew(self, ttl_s: float) -> None:
        """Ask the agent once for all leases; a failure is told and tried again soon."""
        request = {"protocol": 1, "operator": self._operator, "leases": [*self.terms.leases], "ttl_s": round(ttl_s, 3)}
        request |= {"hosts": self.terms.leases} if self._fleet else {}
        found = ask([*self._command, "renew"], json.dumps(request).encode(), max(1.0, self.terms.ttl_s / _PARTS))
        renewed = found.get("leases")
        failed = not isinstance(renewed, list) or "failed" in found
        self.terms.renewed(now_s(), failed=failed)
        if isinstance(renewed, list):
            say({"renewed": renewed})
        if failed:
            say({"failed": str(found.get("failed") or found.get("error", found))[:600]})


def ask(command: list[str], document: bytes, timeout_s: float) -> _Message:
    """Run one verb of the agent in a process group of its own; whatever goes wrong is an answer {"error"}."""
    try:
        child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
        )
    except OSError as error:
        return {"error": f"the agent could not be started: {error}"}
    try:
        said, _ = child.communicate(document, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
        return {"error": f"the agent did not answer within {timeout_s:g} s"}
    try:
        answer = json.loads(said)
    except ValueError:
        return {"error": f"the agent gave no answer (exit status {child.returncode})"}
    return answer if isinstance(answer, dict) else {"error": "the agent gave no object"}


def say(report: _Message) -> None:
    """Tell the controller, which may be stopped or gone: never wait for it."""
    try:
        os.write(1, json.dumps(report).encode() + b"\n")
    except (BlockingIOError, BrokenPipeError):
        return


def main() -> int:
    """Read the order, then serve."""
    os.set_blocking(1, False)
    first, rest = b"", b""
    while b"\n" not in first:
        chunk = os.read(0, _CHUNK)
        if not chunk:
            return 0
        first += chunk
    first, _, rest = first.partition(b"\n")
    Renewer(json.loads(first), rest).serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
