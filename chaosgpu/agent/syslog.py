# SPDX-License-Identifier: Apache-2.0
"""One line a verb in the host's system log: who, what, which run and lease. It never fails and holds no parameters."""

import os
import re
from typing import Mapping, Tuple

from chaosgpu.agent.values import JsonMapping, JsonValue

__all__ = ["DEV_LOG", "log_verb", "names_of", "operator_of"]

DEV_LOG = "/dev/log"
_AUTH_NOTICE = 10 * 8 + 5  # facility authpriv, severity notice (RFC 3164)
_LONGEST = 200
_LONGEST_NAME = 100  # so that a long name does not push the login out of the line
# What AWX and Tower set for the one who launched the job, then sudo's, then the login.
_USER_VARIABLES = ("AWX_USER_NAME", "TOWER_USER_NAME", "SUDO_USER", "LOGNAME", "USER")


def operator_of(request: JsonMapping, environment: Mapping[str, str], user_id: int) -> str:
    """Return who asks: as the controller says it, with the login of this host beside it."""
    here = next((environment[name] for name in _USER_VARIABLES if environment.get(name)), f"user {user_id}")
    claimed = request.get("operator")
    return _clean(here if not isinstance(claimed, str) or not claimed else f"{claimed[:_LONGEST_NAME]} (here: {here})")


def names_of(operator: str) -> Tuple[str, ...]:
    """Return each name in what `operator_of` says: as the controller tells it, and the login here."""
    found = re.fullmatch(r"(.*) \(here: (.*)\)", operator)
    return found.groups() if found is not None else (operator,)


def log_verb(path: str, verb: str, operator: str, request: JsonMapping, outcome: str) -> None:
    """Send one line to the system log where there is one."""
    if not os.path.exists(path):  # noqa: PTH110 (pathlib costs 9 ms at start)
        return
    import socket  # noqa: PLC0415 (costs 5 ms, and most containers have no log)

    words = {key: request.get(key) for key in ("run", "lease", "fault", "by", "change_id")}
    told = " ".join(f"{key}={_word(value)}" for key, value in words.items() if value is not None)
    line = f"<{_AUTH_NOTICE}>chaosgpu-agent[{os.getpid()}]: {verb} {outcome} operator={_word(operator)} {told}"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as log:
            log.sendto(line.rstrip().encode(), path)
    except OSError:
        return  # a full or dead log must not keep a fault in force


def _word(value: JsonValue) -> str:
    text = _clean(str(value))
    return f'"{text}"' if " " in text else text


def _clean(text: str) -> str:
    """One line, so that nobody can write a second entry into the log."""
    return "".join(letter if letter.isprintable() and letter != '"' else "?" for letter in text)[:_LONGEST]
