# SPDX-License-Identifier: Apache-2.0
"""A service's command line with something appended to it, as a drop-in takes it."""

import re
from typing import List, Sequence

from chaosgpu.agent.errors import Refused
from chaosgpu.agent.faults.unit_state import UnitState, show
from chaosgpu.agent.systemd import Systemd

__all__ = ["command_line", "environment_lines", "exec_lines", "printable", "quoted"]

_ARGV = re.compile(r"\{ path=(\S+) ; argv\[\]=(.*?) ; (?:flags|ignore_errors)=(.*?) ; ")
_MOST_BEFORE = 2  # a script's interpreter and one option of it


def command_line(pid: int) -> List[str]:
    """Return the words that a process was started with; none where it has ended."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:  # noqa: PTH123 (pathlib costs 9 ms at start)
            return file.read().decode(errors="surrogateescape").split("\0")[:-1]
    except OSError:
        return []


def exec_lines(state: UnitState, systemd: Systemd, extra: Sequence[str]) -> List[str]:
    """Return the lines that start it with `extra` at the end.

    systemd shows the command without its quotes; the process has the words. Only where both agree is it known what
    they are: no variables, one command, no prefixes.
    """
    shown = show(systemd, ("Id", "ExecStart", "ExecStartEx"), "--", state.id).splitlines()
    plain = [_ARGV.search(line) for line in shown if line.startswith("ExecStart=")]
    flags = [
        found.group(3) for line in shown if line.startswith("ExecStartEx=") for found in [_ARGV.search(line)] if found
    ]
    first = plain[0] if len(plain) == 1 else None
    running = command_line(state.main_pid)
    if first is not None and first.group(3) == "no" and not any(flags):
        for before in range(min(_MOST_BEFORE, len(running)) + 1):
            words = running[before:]
            if words and words[0] == first.group(1) and " ".join(words).replace("$", "$$") == first.group(2):
                return ["[Service]", "ExecStart=", "ExecStart=" + " ".join(map(_word, (*words, *extra)))]
    raise Refused(
        f"The command of {state.id} cannot be written anew for certain: it has variables, prefixes or several "
        "commands, or its process is not started by it directly. "
        "Name an environment variable instead; nothing was touched."
    )


def environment_lines(**variables: str) -> List[str]:
    """Return the lines that set these."""
    return ["[Service]", *(f"Environment={quoted(f'{name}={value}')}" for name, value in variables.items())]


def printable(text: str) -> bool:
    """Tell whether a unit file can hold it as it is."""
    return text.isprintable() and text.isascii()


def quoted(text: str) -> str:
    """Return a text as one word of a unit file."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%") + '"'


def _word(text: str) -> str:
    if not printable(text):
        raise Refused(f"The command has a word that cannot be written into a drop-in: {text!r}. Nothing was touched.")
    return quoted(text).replace("$", "$$")
