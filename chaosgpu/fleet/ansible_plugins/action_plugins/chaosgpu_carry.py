# SPDX-License-Identifier: GPL-3.0-or-later
"""Carry documents to the agent of a host and its answers back: one command over the connection that Ansible has.

Both lie in a private folder. Nothing of them is an argument, a variable or a result of a task: no callback, log or
list of processes sees them.
"""

import contextlib
import fcntl
import json
import os
import shlex
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

# The statuses of the command on the host, and two of our own.
_MISSING, _OTHER, _IN_USE, _NOT_INSTALLED = 90, 91, 94, 95
_LOOK_S = 0.02
_TURN_LOOK_S = 0.005


class ActionModule(ActionBase):
    """The action `chaosgpu_carry`, which has no arguments."""

    TRANSFERS_FILES = False
    _VALID_ARGS: "frozenset[str]" = frozenset()

    def run(self, tmp: Any = None, task_vars: Any = None) -> Any:
        """Send the documents of this host and write what came back beside them."""
        result = super().run(tmp, task_vars)
        folder = Path(os.environ["CHAOSGPU_CARRY"])
        order = json.loads((folder / "order.json").read_text())
        host = quote(task_vars["inventory_hostname"], safe="") + "."
        if "clock" in order:
            _write(folder, f"{host}clock", compare(self._clock, order["clock"], folder))
            _wait(folder / "go", order["clock"]["wait_s"])
        whose = host if (folder / f"{host}command").exists() else ""
        command = folder / f"{whose}command"
        if command.exists():
            document = (folder / f"{whose}request").read_bytes()
            answer = self._carried(command.read_text(), document)
            if "push" in order and answer["status"] in (_MISSING, _OTHER) and not answer["stdout"].strip():
                refused = self._pushed(order["push"], folder / "agent.pyz", fresh=answer["status"] == _MISSING)
                answer = refused or self._carried(command.read_text(), document)
            _write(folder, f"{host}answer", answer)
        result["changed"] = False
        return result

    def _carried(self, command: str, document: bytes) -> Any:
        done = self._low_level_execute_command(command, in_data=document)
        return {"status": done["rc"], "stdout": done["stdout"], "stderr": done["stderr"]}

    def _pushed(self, push: Any, file: Path, *, fresh: bool) -> Any:
        """Put our agent there, never over one that holds a lease or cannot say; return an answer that says why not."""
        if not fresh:
            listed = self._carried(push["list"], b'{"protocol": 1}\n')
            try:
                held = json.loads(listed["stdout"].splitlines()[0])["leases"]
            except (ValueError, LookupError, TypeError):
                return {**listed, "status": _IN_USE, "stdout": ""}
            if held:
                names = ", ".join(str(lease.get("lease")) for lease in held)
                return {"status": _IN_USE, "stdout": "", "stderr": f"open: {names}"}
        folder = self._make_tmp_path()
        try:
            there = self._transfer_file(str(file), self._connection._shell.join_path(folder, "agent.pyz"))  # noqa: SLF001 (as Ansible's own actions)
            done = self._low_level_execute_command(push["install"] + shlex.quote(there))
        finally:
            self._remove_tmp_path(folder)
        return None if done["rc"] == 0 else {"status": _NOT_INSTALLED, "stdout": "", "stderr": done["stderr"]}

    def _clock(self) -> str:
        """Ask for the host's time."""
        done = self._low_level_execute_command("date +%s.%N", sudoable=False)
        return str(done["stdout"].strip() or done["stderr"].strip())[-200:]


def compare(read: Callable[[], str], wanted: Any, folder: Path, now_s: Callable[[], float] = time.time) -> Any:
    """Read the host's clock several times and keep the quickest: its error is half of what the reading took."""
    best, said = None, ""
    turns_until_s = time.monotonic() + wanted["turns_s"]
    for tried in range(1, wanted["tries"] + 1):
        # The first may have to open a connection, which takes long and says little: it keeps nobody waiting.
        with contextlib.nullcontext() if tried == 1 else turn(folder, wanted["at_once"], turns_until_s):
            sent_s = now_s()
            said = read()
            back_s = now_s()
        try:
            there_s = float(said)
        except ValueError:
            break
        half_s = (back_s - sent_s) / 2
        if best is None or half_s < best["error_s"]:
            best = {"ahead_s": there_s - sent_s - half_s, "error_s": half_s}
        if best["error_s"] <= wanted["enough_s" if tried < wanted["usual_tries"] else "usable_s"]:
            break
    return {"clock": best, "said": said}


@contextlib.contextmanager
def turn(folder: Path, at_once: int, until_s: float) -> Iterator[None]:
    """Be one of the few that read at this moment: many at once make each other slow, and each reads the more often.

    A place is a lock, which ends with its process. Who has none by `until_s` reads all the same.
    """
    names = [folder / f"turn.{number}" for number in range(at_once)]
    places = [os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600) for name in names]
    try:
        while not any(map(_taken, places)) and time.monotonic() < until_s:
            time.sleep(_TURN_LOOK_S)
        yield
    finally:
        for place in places:
            os.close(place)


def _taken(place: int) -> bool:
    try:
        fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write(folder: Path, name: str, found: Any) -> None:
    """Write a file as a whole or not at all."""
    unfinished = folder / f"{name}.unfinished"
    unfinished.write_text(json.dumps(found))
    unfinished.rename(folder / name)


def _wait(go: Path, within_s: float) -> None:
    """Wait until the clocks of all hosts are known and it is said what to do; else the controller ends us."""
    until_s = time.monotonic() + within_s
    while not go.exists():
        if time.monotonic() > until_s:
            raise AnsibleActionFail("nothing was agreed in time")
        time.sleep(_LOOK_S)
