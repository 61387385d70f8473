# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask one thing of the agent on a host: one command over the connection that Ansible has, one JSON object each way.

    - chaosgpu_host:
        room: packages        # agent (the default), packages or service
        verb: snapshot
        request: {drill: autumn, packages: {nvidia-open: "580.95.05-1"}}
        changes: true         # whether the verb may change the host; false for one that only reads
        within_s: 900         # the command on the host ends by it

It returns `answer` (what the agent said), `changed` and `diff`. An answer with an error fails the task with its
sentence. The request is on no command line. In check mode a room's verb that changes is asked with `"check": true` and
touches nothing; the agent's own verbs that change are not asked then, and count as a change. The argument `diff`, with
`before` and `after`, says what the change is where the answer does not.
"""

import json
import os
import re
import shlex
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

_ROOMS = ("agent", "packages", "service")
_AGENT = "/usr/libexec/chaosgpu/agent.pyz"
_PATH = re.compile(r"/[A-Za-z0-9._/-]+")
_WORD = re.compile(r"[a-z][a-z-]*")
_CHANGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/#:-]{0,59}")
# Nobody's patience ends a way back halfway.
_PUTS_BACK = ("undo", "sweep", "halt")
_WITHIN_S = 120
_LONGEST_S = 86400
# A room breaks itself off at its deadline; what is over by so much more is ended from outside, where that may be done.
_GRACE_S = 30
_LONGEST = 600
# Its words are its arguments, never a part of its text: agent, seconds, room or nothing, verb.
_SCRIPT = (
    'agent=$1; within=$2; shift 2; [ -f "$agent" ] || exit 90; '
    '[ "$(id -u)" = 0 ] && exec timeout -k 5 "$within" "$agent" "$@"; '
    'sudo -n "$agent" "$@"; status=$?; '
    '[ "$status" = 0 ] || sudo -n -l "$agent" "$@" >/dev/null 2>&1 || exit 93; exit "$status"'
)
_NO_PYTHON = (
    "The agent could not be started: {said}. It needs a Python of 3.9 or later as python3 there; nothing was touched."
)
_NOT_STARTED = {
    90: "There is no agent at {agent}: play provision.yml on this host first; nothing was touched.",
    93: (
        "sudo does not let this user run the agent: {said}. Play provision.yml, or set ansible_become; nothing was "
        "touched."
    ),
    124: "The agent did not end `{what}` within {within_s:g} s and was ended. Look at `chaosgpu leases`.",
    126: _NO_PYTHON,
    127: _NO_PYTHON,
    137: "The agent was killed at `{what}` (its {within_s:g} s were over, or memory was). Look at `chaosgpu leases`.",
}


class ActionModule(ActionBase):
    """The action `chaosgpu_host`."""

    TRANSFERS_FILES = False
    _VALID_ARGS = frozenset({"room", "verb", "request", "changes", "within_s", "diff"})

    def run(self, tmp: Any = None, task_vars: Any = None) -> Any:
        """Ask, and return the answer with what Ansible wants to know of it."""
        result = super().run(tmp, task_vars)
        asked = _Asked(self._task.args, self._templar.template((task_vars or {}).get("chaosgpu_agent_path", _AGENT)))
        asked.operator = _operator(task_vars or {})
        if self._task.check_mode and asked.changes and asked.room == "agent":
            return {**result, "changed": True, "answer": {}, **_diff(asked.told, {})}
        document = asked.document(check=bool(self._task.check_mode))
        done = self._low_level_execute_command(asked.command, in_data=document)
        try:
            answer = json.loads(done["stdout"])
        except ValueError:
            return {**result, "failed": True, "msg": asked.why_no_answer(done)}
        if not isinstance(answer, dict):
            return {**result, "failed": True, "msg": asked.why_no_answer(done)}
        error = answer.get("error")
        if error:
            return {**result, "failed": True, "answer": answer, "msg": str(error.get("message", error))}
        changed = asked.changes and bool(answer.get("changed", asked.room == "agent"))
        return {**result, "changed": changed, "answer": answer, **_diff(asked.told, answer)}


class _Asked:
    """What the task asks for."""

    def __init__(self, args: Any, agent: Any) -> None:
        self.room, self.verb = args.get("room", "agent"), args.get("verb")
        self.request, self.told = args.get("request") or {}, args.get("diff") or {}
        self.changes = _flag(args.get("changes", True))
        self.agent, self.operator = agent, "unknown"
        if self.room not in _ROOMS:
            raise AnsibleActionFail(f"room is one of {', '.join(_ROOMS)}, not {self.room!r}.")
        if not isinstance(self.verb, str) or not _WORD.fullmatch(self.verb):
            raise AnsibleActionFail(f"verb is one word such as snapshot, not {self.verb!r}.")
        if not isinstance(self.request, dict):
            raise AnsibleActionFail(f"request is an object, not {self.request!r}.")
        if not isinstance(agent, str) or not _PATH.fullmatch(agent):
            raise AnsibleActionFail(f"chaosgpu_agent_path is an absolute path, not {agent!r}.")
        try:
            self.within_s = float(args.get("within_s", _WITHIN_S))
        except (TypeError, ValueError):
            self.within_s = 0.0
        if not 0 < self.within_s <= _LONGEST_S:
            raise AnsibleActionFail(f"within_s is a number of seconds up to {_LONGEST_S}, not {args['within_s']!r}.")

    @property
    def what(self) -> str:
        """Return the words that the agent gets."""
        return self.verb if self.room == "agent" else f"{self.room} {self.verb}"

    @property
    def command(self) -> str:
        """Return the one command for the host."""
        outer_s = self.within_s if self.room == "agent" else self.within_s + _GRACE_S
        words = [self.agent, f"{outer_s:.0f}", *self.what.split()]
        return shlex.join(["/bin/sh", "-c", _SCRIPT, "chaosgpu", *words])

    def document(self, *, check: bool) -> bytes:
        """Return the request as it travels."""
        ours: Any = {"protocol": 1, "operator": self.operator}
        if self.room != "agent" or self.verb not in _PUTS_BACK:
            ours["deadline_s"] = self.within_s
        if self.room == "agent":
            ours.update(_granted(self.verb))
        elif check and self.changes:
            ours["check"] = True
        return json.dumps({**self.request, **ours}).encode()

    def why_no_answer(self, done: Any) -> str:
        """Say in one sentence why there is none."""
        said = " ".join((done["stderr"].strip() or done["stdout"].strip()).split())[-_LONGEST:].rstrip(". ")
        sentence = _NOT_STARTED.get(done["rc"], "`{what}` gave no answer (exit status {status}): {said}.")
        words = {"agent": self.agent, "what": self.what, "within_s": self.within_s, "status": done["rc"]}
        return sentence.format(said=said or "it said nothing", **words)


def _granted(verb: Any) -> Any:
    """Return by what a drill goes: its change, and with a fault the approval for hosts that demand one."""
    change, path = os.environ.get("CHAOSGPU_CHANGE_TICKET"), os.environ.get("CHAOSGPU_APPROVAL")
    found = {"change_id": change} if change and _CHANGE.fullmatch(change) else {}  # no way back waits for its name
    if verb != "apply" or not path:
        return found
    try:
        return {**found, "approval": json.loads(Path(path).read_text(encoding="utf-8"))}
    except (OSError, ValueError) as error:
        raise AnsibleActionFail(f"the approval {path} (CHAOSGPU_APPROVAL) cannot be read: {error}.") from error


def _operator(task_vars: Any) -> str:
    """Name who asks: the user of AWX, who called sudo, or the login; the agent writes it to the host's system log."""
    named = [task_vars.get(name) for name in ("awx_user_name", "tower_user_name")]
    named += [os.environ.get(name) for name in ("AWX_USER_NAME", "TOWER_USER_NAME", "SUDO_USER", "LOGNAME", "USER")]
    return next((str(name) for name in named if name), f"uid {os.getuid()}")


def _flag(value: Any) -> bool:
    if isinstance(value, str):
        return value.lower() in ("yes", "true", "1", "on")
    return bool(value)


def _diff(told: Any, answer: Any) -> Any:
    found = answer if "before" in answer or "after" in answer else told
    if "before" not in found and "after" not in found:
        return {}
    texts = {key: str(found.get(key, "")) for key in ("before", "after")}
    return {"diff": {key: text if not text or text.endswith("\n") else f"{text}\n" for key, text in texts.items()}}
