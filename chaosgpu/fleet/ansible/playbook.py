# SPDX-License-Identifier: Apache-2.0
"""One run of `ansible-playbook` in a private folder: what it said of each host, within a deadline."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chaosgpu.errors import Unreachable
from chaosgpu.fleet.ansible import minder
from chaosgpu.fleet.ansible.environment import PLUGINS, environment, find_playbook_command
from chaosgpu.fleet.inventory import Inventory
from chaosgpu.fleet.redaction import redact_text
from chaosgpu.fleet.values import JsonObject, JsonValue

__all__ = ["Event", "Ran", "private_folder", "run_playbook"]

_LOOK_S = 0.05
# What the minder takes to end everything, after its deadline.
_ENDING_S = 10.0
_SAID = 600
_ERROR = re.compile(r"(?:\[ERROR\]:|ERROR!) ?(.*)")


@dataclass(frozen=True)
class Event:
    """What Ansible says of a host: `begun`, then `ok`, `failed`, `unreachable` or `skipped`."""

    event: str
    host: str
    message: str = ""


@dataclass
class Ran:
    """How a run ended."""

    status: int
    stdout: str
    stderr: str
    begun: set[str] = field(default_factory=set)
    ended: dict[str, Event] = field(default_factory=dict)

    @property
    def said(self) -> str:
        """Return the errors that Ansible told, on one line and without secrets."""
        lines = [line.strip() for line in self.stderr.splitlines()]
        errors = [found[1] for line in lines if (found := _ERROR.match(line))]
        text = redact_text(" ".join(errors or [line for line in lines if line])).rstrip(". ")
        return text if len(text) <= _SAID else text[:_SAID] + "…"


@contextlib.contextmanager
def private_folder() -> Iterator[Path]:
    """Make a folder that only we can read, in memory where there is such a place, for as long as the block lasts."""
    memory = os.environ.get("XDG_RUNTIME_DIR")
    where = memory if memory and os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="chaosgpu-", dir=where, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def run_playbook(
    inventory: Inventory,
    plays: Sequence[Mapping[str, JsonValue]],
    folder: Path,
    deadline_s: float,
    *options: str,
    mismatch: str = "ignore",
    on_event: Callable[[Event], None] = lambda _: None,
    on_look: Callable[["Ran"], None] = lambda _: None,
) -> Ran:
    """Run these plays; Ansible and all that it started are ended at the deadline, and when we are interrupted.

    `on_look` is called now and then with what is known by then; what it raises ends the run too.
    """
    (folder / "tmp").mkdir()
    (folder / "plays.json").write_text(json.dumps([dict(play) for play in plays]))
    (folder / "action_plugins").symlink_to(PLUGINS / "action_plugins")
    words = [find_playbook_command(os.environ), *options]
    for source in inventory.sources:
        words += ["-i", source]
    words.append(str(folder / "plays.json"))
    variables = environment(os.environ, folder) | {"ANSIBLE_HOST_PATTERN_MISMATCH": mismatch}
    ran = Ran(0, "", "")
    ran.status = _mind(words, variables, folder, deadline_s, _Follow(folder / "events.jsonl", ran, on_event, on_look))
    ran.stdout, ran.stderr = (_text(folder / name) for name in ("stdout", "stderr"))
    return ran


class _Follow:
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
        event = Event(str(line["event"]), str(line["host"]), str(line.get("message", "")))
        if event.event == "begun":
            self._ran.begun.add(event.host)
        else:
            self._ran.ended[event.host] = event
        self._on_event(event)


def _mind(words: list[str], variables: dict[str, str], folder: Path, deadline_s: float, follow: _Follow) -> int:
    """Run the command under the minder and return its status."""
    command = [sys.executable, "-I", str(minder.__file__), f"{deadline_s:.3f}", str(folder), *words]
    with (folder / "stdout").open("wb") as stdout, (folder / "stderr").open("wb") as stderr:
        try:
            child = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=stdout, stderr=stderr, env=variables, start_new_session=True
            )
        except OSError as error:
            raise Unreachable(f"ansible-playbook could not be started: {error}.") from error
    until_s = time.monotonic() + deadline_s + _ENDING_S
    try:
        while time.monotonic() < until_s:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(_LOOK_S)
            follow.look()
            if child.returncode is not None:
                return child.returncode
            follow.tell()
        return minder.DEADLINE
    finally:
        _see_off(child)
        follow.look()


def _see_off(child: "subprocess.Popen[bytes]") -> None:
    """Tell the minder to end everything, and wait until it has."""
    if child.stdin is not None:
        child.stdin.close()
    try:
        child.wait(_ENDING_S)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _text(path: Path) -> str:
    """Return what was written; where the minder took the folder away, nothing."""
    try:
        return path.read_bytes().decode(errors="replace")
    except FileNotFoundError:
        return ""
