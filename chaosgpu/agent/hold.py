# SPDX-License-Identifier: Apache-2.0
"""Inside a holder: a process that holds a resource (bytes of a GPU, a load) for one lease, and ends with it.

A role is a function `role(request, gate, lease) -> None` in `agent/holders.py`, listed in its `ROLES`:

    def squat(request: JsonObject, gate: Gate, lease: LeaseView) -> None:
        context = slow_preparation(request)          # everything that takes time, nothing that anyone could notice
        gate.ready({"prepared_mib": 64})             # says so, then waits for "go"; ends here if there is none
        take(context)                                # now the fault
        lease.report({"held_mib": 64})               # what verify reads: replaced whole, as often as you like
        while not lease.over():
            lease.wait(1.0)                          # returns early when the lease is over

Raise an AgentError before `ready` to refuse: `apply` answers with its kind. Never print: standard output belongs to
the gate. Returning ends the holder, and a holder that ends before its lease is over ends the lease.
"""

import _thread
import json
import os
import signal
import time
from typing import BinaryIO, Callable, Mapping, Optional, Tuple

from chaosgpu.agent.clock import Boot, Clock, SystemClock, current_boot
from chaosgpu.agent.errors import AgentError, BadRequest
from chaosgpu.agent.record import LIVE, State
from chaosgpu.agent.say import say
from chaosgpu.agent.store import Slots
from chaosgpu.agent.values import JsonObject

__all__ = ["REPORT", "Gate", "GateClosed", "LeaseView", "Role", "hold"]

REPORT = "holder.json"
_LOOK_EVERY_S = 0.1
_WAIT_SLICE_S = 0.1
# A role that does not look at `over` itself (stuck in a driver call) is killed this long after the deadline.
_GRACE_S = 1.0


class GateClosed(Exception):
    """The one who started us is gone before it said "go": nothing was done, so there is nothing to do."""


class Gate:
    """The one moment at which a holder may begin."""

    def __init__(self, requests: BinaryIO, answers: BinaryIO) -> None:
        self._requests = requests
        self._answers = answers

    def ready(self, report: Optional[JsonObject] = None) -> None:
        """Say that everything slow is prepared, then block until "go". Raises GateClosed if nobody says it."""
        self._say({"ready": {} if report is None else report})
        if self._requests.readline() != b"go\n":
            raise GateClosed
        self._answers.close()

    def refuse(self, error: AgentError) -> None:
        """Tell why this holder cannot do it."""
        self._say({"error": {"kind": error.kind, "message": str(error)}})

    def _say(self, document: JsonObject) -> None:
        try:
            self._answers.write(json.dumps(document).encode() + b"\n")
            self._answers.flush()
        except (BrokenPipeError, ValueError) as error:
            raise GateClosed from error


class LeaseView:
    """What a holder may know of its lease, and the report it gives."""

    def __init__(self, folder: str, clock: Clock, boot: Boot, states: Tuple[str, ...] = LIVE) -> None:
        self.folder = folder
        self._clock = clock
        self._boot = boot
        self._states = states
        self._state = Slots(folder, "state")
        self._looked_s = float("-inf")
        self._live_until_s = float("-inf")

    def over(self) -> bool:
        """Tell whether to end: the deadline has passed, the record is gone or damaged, or it is not live any more."""
        now_s = self._clock.boottime_s()
        if now_s - self._looked_s >= _LOOK_EVERY_S:
            self._looked_s = now_s
            self._live_until_s = self._read_end_s()
        return now_s >= self._live_until_s

    def wait(self, seconds: float) -> bool:
        """Wait, but no longer than the lease lives; tell whether it is over."""
        until_s = self._clock.boottime_s() + seconds
        while not self.over():
            left_s = until_s - self._clock.boottime_s()
            if left_s <= 0:
                return False
            self._clock.sleep(min(left_s, _WAIT_SLICE_S))
        return True

    def report(self, report: JsonObject) -> None:
        """Replace holder.json as a whole; a full disk keeps the last one, since a report must not end the fault."""
        path = os.path.join(self.folder, REPORT)  # noqa: PTH118 (pathlib costs 9 ms at start)
        temporary = path + ".new"
        try:
            with open(temporary, "w", encoding="utf-8") as file:  # noqa: PTH123 (as above)
                json.dump(report, file)
            os.replace(temporary, path)  # noqa: PTH105 (as above)
        except OSError as error:
            say(f"The report {path} cannot be written: {error.strerror}. The last one stays.")

    def _read_end_s(self) -> float:
        try:
            found = self._state.read()
            state = None if found is None else State.from_json(found[1])
        except AgentError:
            state = None
        if state is None or state.state not in self._states or state.boot != self._boot:
            return float("-inf")
        return min(state.deadline_s, state.end_s)


Role = Callable[[JsonObject, Gate, LeaseView], None]


def hold(folder: str, requests: BinaryIO, answers: BinaryIO, roles: Mapping[str, Role]) -> int:
    """Run one role for the lease in this folder until it is over; the exit status is for the log only."""
    gate = Gate(requests, answers)
    try:
        order = json.loads(requests.readline() or b"{}")
        role = roles.get(str(order.get("role")))
        if role is None:
            raise BadRequest(f"This agent has no holder {order.get('role')!r}; it has: {', '.join(sorted(roles))}.")
        clock = SystemClock()
        boot = current_boot()
        watched = LeaseView(folder, clock, boot, ("reserved", *LIVE))  # it is reserved until the gate opens
        _thread.start_new_thread(_end_when_over, (watched, os.getpid()))
        role(order["request"], gate, LeaseView(folder, clock, boot))
    except GateClosed:
        return 0
    except AgentError as error:
        say(f"{error.kind}: {error}")
        try:
            gate.refuse(error)
        except GateClosed:
            return 1  # it was past the gate: the keeper sees that we are gone, and the log has the reason
        return 1
    return 0


def _end_when_over(lease: LeaseView, pid: int) -> None:
    """End this process some time after its lease is over, whatever the role is stuck in."""
    while True:
        time.sleep(_GRACE_S / 2)
        if lease.over():
            time.sleep(_GRACE_S)
            os.kill(pid, signal.SIGKILL)
