# SPDX-License-Identifier: GPL-3.0-or-later
"""Write what Ansible does as JSON lines: when a host begins a task, how it ended there, and the counts at the end."""

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


# What a program said at its end is what helps.
_LONGEST = 1000


class CallbackModule(CallbackBase):
    """The events of a run; nothing is written to standard output."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "chaosgpu_events"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Open the file once: a line is one write."""
        super().__init__(*args, **kwargs)
        self._breaks_off = False
        path = Path(os.environ["CHAOSGPU_CARRY"]) / "events.jsonl"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def v2_runner_on_start(self, host: Any, task: Any) -> None:  # noqa: ARG002 (the names are Ansible's)
        """Say that a host is begun."""
        self._say("begun", host.get_name())

    def v2_runner_on_ok(self, result: Any) -> None:
        """Say that the action came to its end there."""
        self._end("ok", result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """Say that it did not, and whether the play goes on without the other hosts then."""
        self._end("ignored" if ignore_errors else "failed", result)

    def v2_playbook_on_play_start(self, play: Any) -> None:
        """Keep what the play says of failures."""
        self._breaks_off = play.max_fail_percentage is not None

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """Say of each host how many tasks changed something and failed there, and what the playbook set of it."""
        for host in stats.processed:
            counts = stats.summarize(host)
            self._say("stats", host, counts=counts, told=stats.custom.get(host, {}))

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """Say that the host could not be reached, or was lost."""
        self._end("unreachable", result)

    def v2_runner_on_skipped(self, result: Any) -> None:
        """Say that nothing was done."""
        self._end("skipped", result)

    def _end(self, event: str, result: Any) -> None:
        said = result._result  # noqa: SLF001 (its public name is newer than some Ansible that we run with)
        host, task = result._host.get_name(), result._task  # noqa: SLF001
        more = {"task": task.get_name()}
        message = _message(said)
        if message:
            more["message"] = message
        if event in ("failed", "unreachable") and (self._breaks_off or task.any_errors_fatal or task.run_once):
            more["breaks_off"] = True
        self._say(event, host, **more)

    def _say(self, event: str, host: str, **more: object) -> None:
        line = json.dumps({"event": event, "host": host, **more}, default=str)
        os.write(self._file, line.encode() + b"\n")


def _message(said: Any) -> str:
    """Return why a task ended as it did; of a loop, what its first item that failed said."""
    items = said.get("results")
    failed = [one for one in items if isinstance(one, dict) and one.get("failed")] if isinstance(items, list) else []
    for one in (*failed[:1], said):
        told = [str(one[key])[-_LONGEST:] for key in ("msg", "module_stderr", "stderr") if one.get(key)]
        if told or one.get("censored"):
            return ": ".join(dict.fromkeys(told)) or str(one["censored"])
    return ""
