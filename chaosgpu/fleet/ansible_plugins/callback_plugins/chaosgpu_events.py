# SPDX-License-Identifier: GPL-3.0-or-later
"""Write what Ansible does as JSON lines: one when a host is begun, one when it has ended, and how."""

import json
import os
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
    name: chaosgpu_events
    type: stdout
    short_description: events as JSON lines
    description:
      - Appends one JSON object a line to the file C(events.jsonl) in the folder that C(CHAOSGPU_CARRY) names.
"""


class CallbackModule(CallbackBase):
    """The events of a run; nothing is written to standard output."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "chaosgpu_events"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Open the file once: a line is one write."""
        super().__init__(*args, **kwargs)
        path = Path(os.environ["CHAOSGPU_CARRY"]) / "events.jsonl"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def v2_runner_on_start(self, host: Any, task: Any) -> None:  # noqa: ARG002 (the names are Ansible's)
        """Say that a host is begun."""
        self._say("begun", host.get_name())

    def v2_runner_on_ok(self, result: Any) -> None:
        """Say that the action came to its end there."""
        self._end("ok", result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:  # noqa: ARG002
        """Say that it did not."""
        self._end("failed", result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """Say that the host could not be reached, or was lost."""
        self._end("unreachable", result)

    def v2_runner_on_skipped(self, result: Any) -> None:
        """Say that nothing was done."""
        self._end("skipped", result)

    def _end(self, event: str, result: Any) -> None:
        said = result._result  # noqa: SLF001 (its public name is newer than some Ansible that we run with)
        host = result._host.get_name()  # noqa: SLF001
        self._say(event, host, said.get("msg") or said.get("module_stderr") or said.get("stderr"))

    def _say(self, event: str, host: str, message: object | None = None) -> None:
        line = {"event": event, "host": host, **({} if message is None else {"message": str(message)})}
        os.write(self._file, json.dumps(line).encode() + b"\n")
