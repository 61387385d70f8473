# SPDX-License-Identifier: GPL-3.0-or-later
"""Put this controller's agent, and a policy, on a host as root's own files; never an agent over one that holds a lease.

    - chaosgpu_agent:
        file: ""              # the agent's file on the controller; without it the chaosgpu installed here builds one
        policy: {}            # what /etc/chaosgpu/policy.json is to say; without it the host's own is left alone
        replace: false        # whether another policy that is there may be replaced

The agent is compared by its digest, the policy by what it says; one that the agent would not take is refused. It needs
root, and returns `changed`, `diff`, `digest` and `manager` (apt, dnf or nothing: what the host has for packages). The
host needs no Python for Ansible, but one of 3.9 or later for the agent: without it nothing is touched.
"""

import hashlib
import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

_AGENT = "/usr/libexec/chaosgpu/agent.pyz"
_WITHIN_S = 60.0
_LONGEST = 600
_LOOK = (
    'echo "user $(id -u)"; '
    "python3 -c 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null && echo python yes; "
    'for manager in apt-get dnf; do command -v "$manager" >/dev/null && echo "manager $manager"; done; '
    '[ -e "$1" ] || exit 0; echo "rights $(stat -Lc "%u %g %a" "$1")"; found=$(sha256sum <"$1"); '
    'echo "digest ${found%% *}"'
)
_LIST = '"$1" list'
_READ = 'if [ -e "$1" ]; then echo there; cat "$1"; else echo none; fi'
_INSTALL = 'umask 022; install -D -o root -g root -m "$3" "$2" "$1.new" && mv "$1.new" "$1"'
_POLICY = "/etc/chaosgpu/policy.json"


class ActionModule(ActionBase):
    """The action `chaosgpu_agent`."""

    TRANSFERS_FILES = True
    _VALID_ARGS = frozenset({"file", "policy", "replace"})

    def run(self, tmp: Any = None, task_vars: Any = None) -> Any:
        """Compare, and replace what differs."""
        result = super().run(tmp, task_vars)
        path = self._templar.template((task_vars or {}).get("chaosgpu_agent_path", _AGENT))
        policy, diffs = self._task.args.get("policy") or {}, []
        with tempfile.TemporaryDirectory(prefix="chaosgpu-") as folder:
            file = _agent(self._task.args.get("file") or "", Path(folder))
            text = _checked(file, policy, Path(folder))
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            found = self._look(path)
            due = []
            if found.get("digest") != digest or found.get("rights") != "0 0 755":
                if "digest" in found:
                    self._refuse_leases(path)
                due.append((path, file, "0755"))
                diffs.append({"before": _said(path, found), "after": f"{path} 0 0 755 {digest}\n"})
            was = self._policy() if policy else None
            if was is not None and not _same(was, policy):
                if was and not _flag(self._task.args.get("replace", False)):
                    raise AnsibleActionFail(
                        f"{_POLICY} is there and says something else, so it is not replaced: compare the two (--diff), "
                        "and set chaosgpu_policy_replace; nothing was touched."
                    )
                due.append((_POLICY, text, "0644"))
                diffs.append(
                    {"before": was, "after": text.read_text(), "before_header": _POLICY, "after_header": _POLICY}
                )
            if not self._task.check_mode:
                for place, one, mode in due:
                    self._install(place, one, mode)
        manager = found.get("manager", "").partition("-")[0]
        told = {"diff": diffs} if diffs else {}
        return {**result, **told, "changed": bool(due), "digest": digest, "manager": manager}

    def _look(self, path: str) -> Any:
        done = self._low_level_execute_command(shlex.join(["/bin/sh", "-c", _LOOK, "chaosgpu", path]))
        rows = [line.split(" ", 1) for line in done["stdout"].splitlines() if " " in line]
        found: Any = {}
        for name, said in rows:
            found.setdefault(name, said)
        if "user" not in found:
            raise AnsibleActionFail(f"the host cannot be looked at: {_short(done)}.")
        if found["user"] != "0":
            raise AnsibleActionFail("to provision a host takes root: set ansible_become; nothing was touched.")
        if "python" not in found:
            raise AnsibleActionFail("the host has no Python of 3.9 or later as python3; nothing was touched.")
        return found

    def _refuse_leases(self, path: str) -> None:
        listed = self._low_level_execute_command(
            shlex.join(["/bin/sh", "-c", _LIST, "chaosgpu", path]), in_data=b'{"protocol": 1}'
        )
        try:
            held = json.loads(listed["stdout"])["leases"]
        except (ValueError, KeyError, TypeError) as error:
            raise AnsibleActionFail(
                f"{path} is another agent and cannot be asked whether it holds a lease ({_short(listed)}), so it is "
                "not replaced: see /var/lib/chaosgpu/leases, and take the file away by hand."
            ) from error
        if held:
            names = ", ".join(str(lease.get("lease")) for lease in held)
            raise AnsibleActionFail(f"the agent {path} holds {names}, so it is not replaced: undo that first.")

    def _policy(self) -> str:
        """Return what the host's policy says now; empty where there is none."""
        done = self._low_level_execute_command(shlex.join(["/bin/sh", "-c", _READ, "chaosgpu", _POLICY]))
        if done["rc"] != 0:
            raise AnsibleActionFail(f"{_POLICY} cannot be read: {_short(done)}.")
        head, _, text = str(done["stdout"]).replace("\r\n", "\n").partition("\n")  # a connection may be a terminal
        if head not in ("none", "there"):
            raise AnsibleActionFail(f"{_POLICY} cannot be read: {_short(done)}.")
        return text if head == "there" else ""

    def _install(self, path: str, file: Path, mode: str) -> None:
        folder = self._make_tmp_path()
        try:
            name = self._connection._shell.join_path(folder, file.name)  # noqa: SLF001 (as Ansible's own actions)
            words = ["/bin/sh", "-c", _INSTALL, "chaosgpu", path, self._transfer_file(str(file), name), mode]
            done = self._low_level_execute_command(shlex.join(words))
        finally:
            self._remove_tmp_path(folder)
        if done["rc"] != 0:
            raise AnsibleActionFail(f"{path} could not be written: {_short(done)}.")


def _agent(given: str, folder: Path) -> Path:
    """Return the agent's file on the controller."""
    if given:
        if not Path(given).is_file():
            raise AnsibleActionFail(f"chaosgpu_agent_file is {given}, and there is no such file here.")
        return Path(given)
    file = folder / "agent.pyz"
    done = _run([sys.executable, "-m", "chaosgpu.agent.zipapp", str(file)], dict(os.environ))
    if done.returncode != 0:
        raise AnsibleActionFail(
            f"the agent cannot be built with {sys.executable}: {' '.join(done.stderr.split())[-_LONGEST:]}. Install "
            "chaostoolkit-gpu beside this Ansible, or name the file with chaosgpu_agent_file."
        )
    return file


def _checked(file: Path, policy: Any, folder: Path) -> Path:
    """Have the agent that is to come read the policy that is to come, and return it as a file."""
    text = folder / "policy.json"
    text.write_text(json.dumps(policy, indent=1) + "\n")
    if policy:
        variables = {**os.environ, "PYTHONPATH": str(file)}
        done = _run([sys.executable, "-m", "chaosgpu.agent.check_policy", str(text)], variables)
        if done.returncode != 0:
            said = " ".join(done.stderr.split())[-_LONGEST:].replace(str(text), "chaosgpu_policy")
            raise AnsibleActionFail(f"{said} Nothing was touched.")
    return text


def _same(text: str, policy: Any) -> bool:
    try:
        return bool(json.loads(text) == policy)
    except ValueError:
        return False


def _flag(value: Any) -> bool:
    return value.lower() in ("yes", "true", "1", "on") if isinstance(value, str) else bool(value)


def _run(words: Any, environment: Any) -> Any:
    return subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_WITHIN_S, env=environment, check=False
    )


def _said(path: str, found: Any) -> str:
    return f"{path} {found['rights']} {found['digest']}\n" if "digest" in found else ""


def _short(done: Any) -> str:
    said = " ".join((done["stderr"].strip() or done["stdout"].strip()).split())
    return said[-_LONGEST:].rstrip(". ") or f"exit status {done['rc']}"
