# SPDX-License-Identifier: Apache-2.0
"""The agent of this host: a child process with a deadline."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence

from chaosgpu.errors import NotReached, Unreachable
from chaosgpu.fleet.redaction import redact_text
from chaosgpu.fleet.targets import LOCAL
from chaosgpu.fleet.transports import Reply

__all__ = ["LocalTransport"]

_TAIL_BYTES = 600
# After SIGKILL the kernel needs a moment; a process stuck in a driver call never dies, and is then left to init.
_REAP_S = 2.0

type Start = Callable[[Sequence[str]], subprocess.Popen[bytes]]


def start_process(command: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start a process in its own session, so that it and its children can be ended together."""
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


class LocalTransport:
    """Runs `command VERB`, or `command ROOM VERB`.

    Keepers and holders live in sessions of their own and outlive what is ended here.
    """

    def __init__(
        self, command: Sequence[str] = (sys.executable, "-m", "chaosgpu.agent"), start: Start = start_process
    ) -> None:
        self._command = tuple(command)
        self._start = start

    def command_of(self, host: str) -> tuple[str, ...] | None:  # noqa: ARG002 (the seam)
        """Return the agent's command."""
        return self._command

    def carry(self, host: str, verb: str, document: bytes, timeout_s: float) -> Reply:
        """Run the verb; at the deadline, and when we are interrupted, its whole process group is killed.

        Another name than this host's is never taken for this host: what a record or a person meant is elsewhere.
        """
        if host != LOCAL:
            raise NotReached(
                f"{host} is not this host, and without an inventory only {LOCAL} is known, so nothing was asked. "
                "Name the inventory: chaosgpu_inventory in the experiment's configuration, --inventory for a command."
            )
        try:
            child = self._start([*self._command, *verb.split()])
        except OSError as error:
            raise Unreachable(
                f"The agent on {host} could not be started for {verb!r}: {error}. Is {self._command[0]} there?"
            ) from error
        answered = False
        try:
            stdout, stderr = child.communicate(document, timeout=timeout_s)
            answered = True
        except subprocess.TimeoutExpired as expired:
            said = redact_text((expired.stderr or b"")[-_TAIL_BYTES:].decode(errors="replace")).strip()
            raise Unreachable(
                f"The agent on {host} did not answer {verb!r} within {timeout_s:g} s and was ended"
                f"{f'; it said: {said}' if said else ''}. Look at `chaosgpu leases`, or give it a longer timeout_s."
            ) from expired
        finally:
            if not answered:
                _end(child)
        return Reply(child.returncode, stdout, stderr)


def _end(child: subprocess.Popen[bytes]) -> None:
    """Kill the process group and reap the child."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(_REAP_S)
    for stream in (child.stdin, child.stdout, child.stderr):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
