# SPDX-License-Identifier: Apache-2.0
"""The host's agent asked as a process, as anybody asks it: never for longer than a deadline."""

import json
import os
import signal
import subprocess
from typing import Mapping, Sequence

from chaosgpu.agent import values
from chaosgpu.agent.errors import Refused
from chaosgpu.agent.protocol import PROTOCOL
from chaosgpu.agent.values import JsonObject, JsonValue

__all__ = ["Agent"]

_WITHIN_S = 60.0
# The host's own Python, and none that a virtual environment put in front of it: it is the one that the units start.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_WHO = ("AWX_USER_NAME", "TOWER_USER_NAME", "SUDO_USER", "LOGNAME", "USER")


class Agent:
    """One agent, by the words that start it; the last is its file."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._command = list(command)
        self._environment = {"PATH": _PATH, "LANG": "C.UTF-8"}
        self._environment.update({name: environment[name] for name in _WHO if name in environment})

    @property
    def path(self) -> str:
        """Return its file."""
        return self._command[-1]

    def ask(self, verb: str, **request: JsonValue) -> JsonObject:
        """Return its answer, which may be an error; Refused where it gives none."""
        try:
            child = subprocess.Popen(
                [*self._command, verb], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                cwd="/", env=self._environment, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise Refused(f"The agent {self.path} cannot be started: {error.strerror}. See docs/fleet.md.") from error
        with child:
            try:
                out, said = child.communicate(json.dumps({"protocol": PROTOCOL, **request}).encode(), timeout=_WITHIN_S)
            except subprocess.TimeoutExpired as error:
                raise Refused(f"The agent did not answer `{verb}` within {_WITHIN_S:g} s.") from error
            finally:
                if child.poll() is None:  # late, or we were interrupted: nobody waits for it any more
                    os.killpg(child.pid, signal.SIGKILL)
        try:
            answer = json.loads(out)
        except ValueError as error:
            last = said.decode(errors="replace").strip()[-300:]
            raise Refused(f"The agent gave no answer to `{verb}`, and ended with {child.returncode}: {last}") from error
        if not isinstance(answer, dict):
            raise Refused(f"The agent's answer to `{verb}` is no object: {answer!r}.")
        return answer

    def asked(self, verb: str, **request: JsonValue) -> JsonObject:
        """Return its answer; Refused where that is an error."""
        answer = self.ask(verb, **request)
        if "error" in answer:
            raise Refused(f"The agent answered `{verb}`: {values.mapping(answer, 'error').get('message')}")
        return answer
