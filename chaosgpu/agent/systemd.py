# SPDX-License-Identifier: Apache-2.0
"""systemd as this host's PID 1, asked through its own two programs, never for longer than a deadline."""

import os
import re
import signal
from dataclasses import dataclass
from functools import partial
from typing import Mapping, Optional, Sequence, Tuple

from chaosgpu.agent.errors import Refused, Unanswered

__all__ = ["BOOTED", "PROGRAMS", "Systemd", "find_systemd", "no_systemd"]

BOOTED = "/run/systemd/system"  # sd_booted(3): there only where systemd is PID 1
PROGRAMS = ("/usr/bin", "/bin")
ANSWER_WITHIN_S = 5.0
RELOADS_WITHIN_S = 30.0  # generators run, and every unit is read: a second or two on a busy host
_PLAIN = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
_PR_SET_PDEATHSIG = 1
# From this version on a scope can end itself (its NEWS).
_SCOPES_END_SINCE = 244


@dataclass(frozen=True)
class Systemd:
    """Where its programs are, and its version."""

    systemctl: str
    systemd_run: str
    version: int

    def ask(self, *words: str, within_s: Optional[float] = None) -> str:
        """Run systemctl and return what it said; Unanswered where it failed or did not answer in time."""
        return _call((self.systemctl, "--no-pager", "--no-ask-password", *words), within_s)

    def reload(self) -> None:
        """Have it read its units anew; this fires timers of others early, so not without need."""
        self.ask("daemon-reload", within_s=RELOADS_WITHIN_S)

    def start(self, *words: str) -> str:
        """Run systemd-run; Unanswered likewise."""
        return _call((self.systemd_run, "--quiet", "--collect", *words))

    def log_of(self, invocation: str) -> str:
        """Return what one start of a unit has written to the journal."""
        journalctl = os.path.join(os.path.dirname(self.systemctl), "journalctl")  # noqa: PTH118, PTH120 (pathlib costs 9 ms)
        return _call((journalctl, "--quiet", "--no-pager", "--output=cat", f"_SYSTEMD_INVOCATION_ID={invocation}"))

    def scope(
        self,
        unit: str,
        about: str,
        words: Sequence[str],
        environment: Mapping[str, str],
        lasts_s: Optional[float] = None,
    ) -> Tuple[Tuple[str, ...], Mapping[str, str]]:
        """Return the words and environment with which a process moves itself into a unit of its own and goes on there.

        It keeps its pid, its streams and its session. With `lasts_s` systemd ends it after so many seconds.
        """
        limit: Tuple[str, ...] = ()
        if lasts_s is not None and self.version >= _SCOPES_END_SINCE:
            limit = (f"--property=RuntimeMaxSec={lasts_s:.3f}s", "--property=TimeoutStopSec=2")
        handed = tuple(f"--setenv={name}={text}" for name, text in environment.items())
        # systemd-run itself sees our own variables alone: another's LD_LIBRARY_PATH may not suit it.
        plain = {name: text for name, text in environment.items() if name.startswith("CHAOSGPU_")}
        named = ("--scope", f"--unit={unit}", f"--description={about}")
        return (self.systemd_run, "--quiet", "--collect", *named, *limit, *handed, "--", *words), plain


def find_systemd(booted: str = BOOTED, programs: Sequence[str] = PROGRAMS) -> Optional[Systemd]:
    """Return systemd where it is PID 1 and answers, None where there is none; Unanswered where nobody can know."""
    if not os.path.isdir(booted):  # noqa: PTH112 (pathlib costs 9 ms at start)
        return None
    systemctl, systemd_run = (_program(name, programs) for name in ("systemctl", "systemd-run"))
    if systemctl is None or systemd_run is None:
        return None
    try:
        said = _call((systemctl, "show", "--property=Version"))
    except _NoWord:
        raise
    except Refused:
        return None  # programs in a container whose PID 1 is something else
    version = re.search(r"\d+", said)
    return None if version is None else Systemd(systemctl, systemd_run, int(version.group()))


def no_systemd() -> Optional[Systemd]:
    """Find none: for a lab, a user's own folder, and tests."""
    return None


class _NoWord(Unanswered):
    """No answer in time, or nobody who could give one: that host is ill, and nothing is begun on it."""


def _program(name: str, folders: Sequence[str]) -> Optional[str]:
    found = (f"{folder}/{name}" for folder in folders)
    return next((path for path in found if os.access(path, os.X_OK)), None)


def _call(words: Sequence[str], within_s: Optional[float] = None) -> str:
    import ctypes  # noqa: PLC0415 (5 ms, and only hosts with systemd need it)
    import subprocess  # noqa: PLC0415 (8 ms, likewise)

    shown, within_s = " ".join(words), ANSWER_WITHIN_S if within_s is None else within_s
    try:
        child = subprocess.Popen(
            list(words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
            env=_PLAIN,
            start_new_session=True,
            # It ends when the agent dies: it must not ask for anything after the undo has come.
            preexec_fn=partial(ctypes.CDLL(None).prctl, _PR_SET_PDEATHSIG, signal.SIGKILL),  # noqa: PLW1509 (one thread)
        )
    except OSError as error:
        raise _NoWord(f"`{shown}` could not be started: {error.strerror}.") from error
    try:
        out, said = child.communicate(timeout=within_s)
    except subprocess.TimeoutExpired as error:
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
        raise _NoWord(
            f"`{shown}` did not answer within {within_s:g} s, so nothing can be relied on here: see what PID 1 "
            "is waiting for (`journalctl -b _PID=1`)."
        ) from error
    if child.returncode < 0:
        raise _NoWord(f"`{shown}` was ended by signal {-child.returncode} before it had answered.")
    if child.returncode != 0:
        raise Unanswered(f"`{shown}` ended with {child.returncode}: {said.decode(errors='replace').strip()[:300]}")
    return out.decode(errors="replace")
