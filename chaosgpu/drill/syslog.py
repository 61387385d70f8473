# SPDX-License-Identifier: Apache-2.0
"""One line to this machine's system log for each step of a drill: what, which drill, which change, by whom."""

import syslog

__all__ = ["log_line", "words"]

_LONGEST = 300


def log_line(line: str) -> None:
    """Send a line; a machine without a system log takes none, and that stops nothing."""
    syslog.openlog("chaosgpu-drill", syslog.LOG_PID, syslog.LOG_AUTHPRIV)
    syslog.syslog(syslog.LOG_NOTICE, line)


def words(what: str, **said: object) -> str:
    """Write one line of words; nobody can write a second entry with what is said."""
    told = " ".join(f"{key}={_word(str(value))}" for key, value in said.items() if value not in (None, ""))
    return f"{what} {told}"


def _word(text: str) -> str:
    clean = "".join(letter if letter.isprintable() and letter != '"' else "?" for letter in text)[:_LONGEST]
    return f'"{clean}"' if " " in clean else clean
