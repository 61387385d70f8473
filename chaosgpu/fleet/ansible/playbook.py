# SPDX-License-Identifier: Apache-2.0
"""One run of `ansible-playbook` in a private folder: what it said of each host, within a deadline."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from chaosgpu.errors import Unreachable
from chaosgpu.fleet.ansible import minder
from chaosgpu.fleet.ansible.environment import PLUGINS, environment, find_playbook_command
from chaosgpu.fleet.ansible.events import Event, Follow, Ran
from chaosgpu.fleet.inventory import Inventory
from chaosgpu.fleet.values import JsonValue

__all__ = ["private_folder", "run_playbook", "run_playbook_file"]

_LOOK_S = 0.05
# What the minder takes to end everything, after its deadline.
_ENDING_S = 10.0


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
    on_look: Callable[[Ran], None] = lambda _: None,
) -> Ran:
    """Run these plays; Ansible and all that it started are ended at the deadline, and when we are interrupted.

    `on_look` is called now and then with what is known by then; what it raises ends the run too.
    """
    (folder / "plays.json").write_text(json.dumps([dict(play) for play in plays]))
    (folder / "action_plugins").symlink_to(PLUGINS / "action_plugins")
    words = [*options, *_sources(inventory.sources), str(folder / "plays.json")]
    changes = {"ANSIBLE_HOST_PATTERN_MISMATCH": mismatch}
    return _run(words, changes, folder, deadline_s, lambda ran: Follow(folder / "events.jsonl", ran, on_event, on_look))


def run_playbook_file(
    sources: Sequence[str],
    file: Path,
    folder: Path,
    deadline_s: float,
    *options: str,
    on_event: Callable[[Event], None] = lambda _: None,
) -> Ran:
    """Run a playbook from where it lies, with what lies beside it; callbacks that ansible.cfg enables are called."""
    words = [*options, *_sources(sources), str(file)]
    changes = {"ANSIBLE_HOST_PATTERN_MISMATCH": "ignore", "ANSIBLE_CALLBACKS_ENABLED": None}
    events = folder / "events.jsonl"
    return _run(words, changes, folder, deadline_s, lambda ran: Follow(events, ran, on_event, lambda _: None))


def _sources(sources: Sequence[str]) -> list[str]:
    return [word for source in sources for word in ("-i", source)]


def _run(
    words: Sequence[str],
    changes: Mapping[str, str | None],
    folder: Path,
    deadline_s: float,
    follow: Callable[[Ran], Follow],
) -> Ran:
    """Run ansible-playbook in the private folder and return what it said."""
    (folder / "tmp").mkdir()
    changed = {**environment(os.environ, folder), **changes}
    variables = {name: value for name, value in changed.items() if value is not None}
    ran = Ran(0, "", "")
    command = [find_playbook_command(os.environ), *words]
    ran.status = _mind(command, variables, folder, deadline_s, follow(ran))
    ran.stdout, ran.stderr = (_text(folder / name) for name in ("stdout", "stderr"))
    return ran


def _mind(words: list[str], variables: dict[str, str], folder: Path, deadline_s: float, follow: Follow) -> int:
    """Run the command under the minder and return its status."""
    command = [sys.executable, "-I", "-S", str(minder.__file__), f"{deadline_s:.3f}", str(folder), *words]
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
