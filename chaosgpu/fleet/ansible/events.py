# SPDX-License-Identifier: Apache-2.0
"""What Ansible says while it runs, as our callback writes it, and what that comes to for each host."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from chaosgpu.fleet.redaction import redact_text
from chaosgpu.fleet.values import JsonObject, whole_object

__all__ = ["Event", "Follow", "Ran"]

_SAID = 600
_ERROR = re.compile(r"(?:\[ERROR\]:|ERROR!) ?(.*)")


@dataclass(frozen=True)
class Event:
    """What Ansible says of a host.

    `begun`, then for each task `ok`, `failed`, `ignored`, `unreachable` or `skipped`; at the end `stats`.
    """

    event: str
    host: str
    message: str = ""
    task: str = ""
    # Whether the play ends for every host with this.
    breaks_off: bool = False


@dataclass(frozen=True)
class Counts:
    """What Ansible counted on a host, and what the playbook set of it by `set_stats`."""

    changed: int
    failed: int
    unreachable: int
    told: JsonObject


@dataclass
class Ran:
    """How a run ended."""

    status: int
    stdout: str
    stderr: str
    begun: set[str] = field(default_factory=set)
    ended: dict[str, Event] = field(default_factory=dict)
    # The last failure of each host, which may have been rescued.
    failed: dict[str, Event] = field(default_factory=dict)
    counts: dict[str, Counts] = field(default_factory=dict)

    @property
    def said(self) -> str:
        """Return the errors that Ansible told, on one line and without secrets."""
        lines = [line.strip() for line in self.stderr.splitlines()]
        errors = [found[1] for line in lines if (found := _ERROR.match(line))]
        text = redact_text(" ".join(errors or [line for line in lines if line])).rstrip(". ")
        return text if len(text) <= _SAID else text[:_SAID] + "…"

    def take(self, event: Event) -> None:
        """Take what happened on a host."""
        if event.event == "begun":
            self.begun.add(event.host)
            return
        self.ended[event.host] = event
        if event.event in ("failed", "unreachable"):
            self.failed[event.host] = event


class Follow:
    """Reads the events as they come."""

    def __init__(self, path: Path, ran: Ran, on_event: Callable[[Event], None], on_look: Callable[[Ran], None]) -> None:
        self._path, self._ran, self._on_event, self._on_look = path, ran, on_event, on_look
        self._at = 0

    def look(self) -> None:
        """Take the whole lines that are new."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._at)
                fresh = file.read()
        except FileNotFoundError:
            return
        whole, _, _ = fresh.rpartition(b"\n")
        self._at += len(whole) + 1 if whole else 0
        for line in whole.splitlines():
            self._take(json.loads(line))

    def tell(self) -> None:
        """Say what is known by now."""
        self._on_look(self._ran)

    def _take(self, line: JsonObject) -> None:
        name, host = str(line["event"]), str(line["host"])
        if name == "stats":
            counts = whole_object(line, "counts")
            changed, failed, unreachable = (_whole(counts, key) for key in ("changed", "failures", "unreachable"))
            self._ran.counts[host] = Counts(changed, failed, unreachable, whole_object(line, "told"))
            return
        message, task = str(line.get("message", "")), str(line.get("task", ""))
        event = Event(name, host, message, task, breaks_off=line.get("breaks_off") is True)
        self._ran.take(event)
        self._on_event(event)


def _whole(source: Mapping[str, object], key: str) -> int:
    value = source.get(key)
    return value if isinstance(value, int) else 0
