# SPDX-License-Identifier: Apache-2.0
"""Who brings a killed service back: a named command, run as the service's own user, or a named systemd unit."""

import os
import pwd
import signal
from dataclasses import dataclass
from typing import List, Optional, Tuple

from chaosgpu.agent import values
from chaosgpu.agent.errors import BadRequest, Refused
from chaosgpu.agent.values import JsonMapping

__all__ = ["Restorer", "parse_restorer"]

WITHIN_S = 60.0


@dataclass(frozen=True)
class Restorer:
    """One of the two is given."""

    command: Tuple[str, ...]
    unit: Optional[str]

    @property
    def arguments(self) -> List[str]:
        """Return what is run."""
        return list(self.command) if self.unit is None else ["systemctl", "restart", self.unit]

    def check(self) -> None:
        """Refuse a command that is not there and a unit that systemd does not know."""
        import subprocess  # noqa: PLC0415 (8 ms, and only this fault needs it)

        if self.unit is None:
            if not os.access(self.command[0], os.X_OK):
                raise Refused(f"restored_by names {self.command[0]}, which is no program here: nothing could undo it.")
            return
        try:
            answer = subprocess.run(
                ["systemctl", "show", "--property=LoadState", "--value", "--", self.unit],
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, timeout=5, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Refused(f"restored_by names the unit {self.unit}, but systemctl does not answer: {error}.") from error
        if answer.stdout.strip() != b"loaded":
            raise Refused(f"restored_by names the unit {self.unit}, which systemd does not know here.")

    def run(self, user: int, environment: JsonMapping) -> Optional[str]:
        """Run it and wait for its end; return what went wrong, None if nothing did."""
        import subprocess  # noqa: PLC0415 (8 ms, and only this fault needs it)

        variables = {key: text for key, text in environment.items() if isinstance(text, str)}
        as_user: Optional[int] = None
        as_group: Optional[int] = None
        try:
            account = pwd.getpwuid(user)
        except KeyError:
            return f"user {user} of the service is not known on this host"
        if self.unit is None and os.geteuid() == 0 and user != 0:
            # The command never gets more rights than the service has that it brings back.
            as_user, as_group = user, account.pw_gid
        try:
            process = subprocess.Popen(
                self.arguments,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={"PATH": os.defpath, "HOME": account.pw_dir, "USER": account.pw_name, **variables},
                start_new_session=True,
                user=as_user,
                group=as_group,
                extra_groups=None if as_user is None else [],
            )
        except OSError as error:
            return f"{self.arguments[0]} could not be started: {error.strerror}"
        try:
            code = process.wait(WITHIN_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return f"{self.arguments[0]} did not end within {WITHIN_S:g} s: it must start the service and return"
        return None if code == 0 else f"{self.arguments[0]} ended with status {code}"


def parse_restorer(raw: JsonMapping) -> Restorer:
    """Read restored_by: {"command": [...]} or {"unit": "..."}."""
    if raw.get("restored_by") is None:
        raise BadRequest(
            'restored_by must name what brings the service back: {"unit": "x.service"} or {"command": ["/usr/bin/…"]}. '
            "A killed process has no other undo."
        )
    source = values.mapping(raw, "restored_by")
    values.only(source, "restored_by", frozenset({"command", "unit"}))
    command = source.get("command")
    if (command is None) == (source.get("unit") is None):
        raise BadRequest("restored_by must have either command or unit, one of the two.")
    if command is None:
        unit = values.text(source, "unit")
        if not unit.replace("-", "").replace("_", "").replace(".", "").replace("@", "").replace(":", "").isalnum():
            raise BadRequest(f"restored_by.unit must be the name of a systemd unit, not {unit!r}.")
        return Restorer((), unit)
    if not isinstance(command, list) or not command or not all(isinstance(word, str) for word in command):
        raise BadRequest('restored_by.command must be a list of texts, such as ["/usr/bin/systemctl", "start", "x"].')
    words = tuple(str(word) for word in command)
    if not os.path.isabs(words[0]):  # noqa: PTH117 (pathlib costs 9 ms at start)
        raise BadRequest(f"restored_by.command must begin with an absolute path, not {words[0]!r}.")
    return Restorer(words, None)
