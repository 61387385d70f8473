# SPDX-License-Identifier: Apache-2.0
"""The NVIDIA driver behind a child process with a deadline: a driver call that hangs must not hang the agent."""

import json
import os
import select
import signal
import time
from typing import Dict, List, Mapping, NoReturn, Optional, Type

from chaosgpu.agent.errors import AgentError, DriverDied, DriverFailed, DriverHung, DriverStuck
from chaosgpu.agent.process import fork_served
from chaosgpu.agent.values import JsonMapping, JsonObject, JsonValue

__all__ = ["CALL_DEADLINE_S", "START_EXTRA_S", "ForkedDriver"]

CALL_DEADLINE_S = 5.0
# The first call also starts NVML, which wakes every GPU whose persistence mode is off.
START_EXTRA_S = 3.0
_END_GRACE_S = 0.5
_KILL_GRACE_S = 1.0
_BLOCK_BYTES = 65536


class ForkedDriver:
    """Calls NVML by name in one child, forked at the first call and ended by `close` or with this process.

    `environment` and `library` are those of a lease's record: the child takes them over and refuses to work on
    another library. Without them it uses what this process would find.
    """

    def __init__(
        self,
        environment: Optional[Mapping[str, str]] = None,
        library: Optional[JsonMapping] = None,
        deadline_s: float = CALL_DEADLINE_S,
        start_extra_s: float = START_EXTRA_S,
    ) -> None:
        self._environment = None if environment is None else dict(environment)
        self._library: JsonObject = {} if library is None else dict(library)
        self._deadline_s = deadline_s
        self._start_extra_s = start_extra_s
        self._child: Optional[_Child] = None

    @property
    def child_pid(self) -> Optional[int]:
        """The child's pid, while there is one."""
        return None if self._child is None else self._child.pid

    def call(self, name: str, *arguments: JsonValue) -> JsonValue:
        """Run the driver call of that name in the child and return its answer.

        Raises DriverHung if no answer came in time (the child is killed, the next call gets a new one), DriverFailed
        with NVML's code, or BadRequest for an unknown call or GPU.
        """
        deadline_s = self._deadline_s
        if self._child is None:
            self._child = _Child(self._environment, self._library)
            deadline_s += self._start_extra_s
        reply = self._child.ask({"call": name, "arguments": list(arguments)}, deadline_s)
        if reply is None:
            self._hung(name, deadline_s)
        if not reply:
            self._died(name)
        return _unpack(reply)

    def close(self) -> None:
        """End the child; it is killed if it does not go by itself."""
        child, self._child = self._child, None
        if child is not None:
            child.end()

    def _hung(self, name: str, deadline_s: float) -> NoReturn:
        child, self._child = self._child, None
        message = f"The driver call {name} did not come back within {deadline_s:g} s."
        if child is not None and not child.kill():
            raise DriverStuck(
                f"{message} Its process {child.pid} cannot be killed: it is stuck in the kernel. "
                "Take the host out of service and reboot it."
            )
        raise DriverHung(
            f"{message} Its process was killed. Look at the kernel log for an Xid; if it happens again, "
            "take the host out of service and reboot it."
        )

    def _died(self, name: str) -> NoReturn:
        child, self._child = self._child, None
        how = "unexpectedly" if child is None else child.how_it_ended()
        raise DriverDied(
            f"The driver's process ended {how} during the call {name}. "
            "The NVIDIA library may be broken or half replaced: check its packages and the kernel log."
        )


class _Child:
    """The child process and the two pipes to it."""

    def __init__(self, environment: Optional[Dict[str, str]], library: JsonObject) -> None:
        def serve(request_end: int, answer_end: int) -> None:
            from chaosgpu.agent import driver_child  # noqa: PLC0415 (ctypes is for the child only)

            with os.fdopen(request_end, "rb") as requests, os.fdopen(answer_end, "wb") as answers:
                driver_child.serve(requests, answers, environment, library)

        self.pid, self._requests, self._answers = fork_served(serve)
        self._status: Optional[int] = None
        self._unread = b""
        self._asked = 0

    def ask(self, call: JsonObject, deadline_s: float) -> Optional[JsonObject]:
        """Send one call and return its reply; empty if the child ended, None if the deadline passed."""
        end = time.monotonic() + deadline_s
        self._asked += 1
        try:
            os.write(self._requests, json.dumps({"number": self._asked, **call}).encode() + b"\n")
        except BrokenPipeError:
            return {}
        while True:
            line = self._line(end)
            reply: Optional[JsonObject] = json.loads(line) if line else None
            # The answer to a call that a signal broke off earlier is not the answer to this one.
            if reply is None or reply.get("number") == self._asked:
                return {} if line == b"" else reply

    def _line(self, end: float) -> Optional[bytes]:
        while b"\n" not in self._unread:
            poll = select.poll()
            poll.register(self._answers, select.POLLIN)
            if not poll.poll(max(0.0, end - time.monotonic()) * 1000):
                return None
            block = os.read(self._answers, _BLOCK_BYTES)
            if not block:
                return b""
            self._unread += block
        line, self._unread = self._unread.split(b"\n", 1)
        return line

    def end(self) -> None:
        """Let the child end by itself, else kill it."""
        os.close(self._requests)
        self._requests = -1
        if not self._gone_within(_END_GRACE_S):
            self.kill()
        else:
            self._close()

    def kill(self) -> bool:
        """Kill the child and whatever it started; False if it is stuck in the kernel and stays."""
        if self._status is None:
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                os.kill(self.pid, signal.SIGKILL)  # it has not become the leader of its own group yet
        gone = self._gone_within(_KILL_GRACE_S)
        self._close()
        return gone

    def how_it_ended(self) -> str:
        """Say how a child ended whose pipe was found closed."""
        if not self._gone_within(_END_GRACE_S):
            self.kill()
        self._close()
        if self._status is not None and os.WIFSIGNALED(self._status):
            return f"by signal {os.WTERMSIG(self._status)}"
        return "unexpectedly"

    def _gone_within(self, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while self._status is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                pid, status = self.pid, 0  # somebody else's handler reaped it
            if pid:
                self._status = status
            elif time.monotonic() > end:
                return False
            else:
                time.sleep(0.002)
        return True

    def _close(self) -> None:
        for descriptor in (self._requests, self._answers):
            if descriptor >= 0:
                os.close(descriptor)
        self._requests = self._answers = -1


def _unpack(reply: JsonObject) -> JsonValue:
    error = reply.get("error")
    if not isinstance(error, dict):
        return reply.get("answer")
    message, code = str(error.get("message")), error.get("code")
    kind = _kinds().get(str(error.get("kind")), AgentError)
    if issubclass(kind, DriverFailed):
        raise kind(message, code=code if isinstance(code, int) else None)
    raise kind(message)


def _kinds() -> Dict[str, Type[AgentError]]:
    found: Dict[str, Type[AgentError]] = {}
    waiting: List[Type[AgentError]] = [AgentError]
    while waiting:
        kind = waiting.pop()
        found.setdefault(kind.kind, kind)
        waiting.extend(kind.__subclasses__())
    return found
