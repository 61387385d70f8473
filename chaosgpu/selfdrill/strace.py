# SPDX-License-Identifier: Apache-2.0
"""What strace is asked, and what it says: the calls that change something, and whether a planned kill really hit."""

import re
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from chaosgpu.selfdrill.entry import MARKER

# Closing is left out on purpose: a killed process closes everything, so a kill before it and after it are the same.
CHANGING = (
    "open", "openat", "creat", "write", "pwrite64", "writev", "sendto", "sendmsg", "fsync", "fdatasync", "rename",
    "renameat", "renameat2", "unlink", "unlinkat", "link", "linkat", "symlink", "symlinkat", "mkdir", "mkdirat",
    "rmdir", "fallocate", "ftruncate", "truncate", "chmod", "fchmod", "utimensat", "msync", "ioctl", "flock", "fcntl",
    "fork", "vfork", "clone", "clone3", "execve", "setsid", "kill", "tgkill", "pidfd_send_signal", "exit_group",
)  # fmt: skip
_MARKS = ("access", "faccessat", "faccessat2")
PAUSES = ("clock_nanosleep", "nanosleep")
_LINE = re.compile(r"([a-z_0-9]+)\((.*)")
_HARMLESS = {
    # Opening for writing changes nothing yet, unless it makes or empties the file.
    "open": lambda text: not re.search(r"O_(CREAT|TRUNC)", text) or "/dev/null" in text,
    "openat": lambda text: not re.search(r"O_(CREAT|TRUNC)", text) or "/dev/null" in text,
    "fcntl": lambda text: not re.search(r"F_(OFD_)?SETLK", text),
    "ioctl": lambda text: re.search(r"\b(TCGETS|FIOCLEX|FIONBIO|TIOCGWINSZ)\b", text) is not None,
    # A look whether somebody has it, or one of many tries; how many, how busy the machine is decides.
    "flock": lambda text: "LOCK_EX" not in text or "EAGAIN" in text,
    "kill": lambda text: re.search(r", 0\)", text) is not None,
}


@dataclass(frozen=True)
class Call:
    """One call of a traced process: the `number`-th of its name since the marker, the `turn`-th of its kind.

    How many processes the machine has decides how often /proc is opened, and so the number of the opens after that;
    the turn stays: a miss is planned again at the number that its own trace shows.
    """

    name: str
    number: int
    text: str
    turn: int = 0

    @property
    def kind(self) -> tuple[str, ...]:
        """Return what it acts on: the names of its files without pids and ids, and how a file is opened or locked."""
        return (self.name, *_telling(self.text))

    def in_short(self) -> tuple[str, int, str, int]:
        """Return its fields, of the text only what its kind is made of."""
        return self.name, self.number, " ".join(_telling(self.text)), self.turn


def _telling(text: str) -> tuple[str, ...]:
    names = re.findall(r'/([^/<>"]+)[>"]', text)
    flags = re.findall(r"\b(?:O|LOCK)_[A-Z|_]+|EAGAIN", text)
    return (*(f'/{re.sub(r"[0-9]+", "#", name)}"' for name in names), *flags)


def find_strace() -> str:
    """Return where strace is; a sentence where it is not."""
    found = shutil.which("strace")
    if found is None:
        from chaosgpu.errors import Refused  # noqa: PLC0415 (a host that is struck as a whole has no Chaos Toolkit)

        raise Refused("The crash points need strace, which is not installed: apt-get install strace.")
    return found


def watching(out: Path, names: Sequence[str]) -> list[str]:
    """Return strace's own arguments without the pid: write these calls down."""
    watched = ",".join(f"?{name}" for name in dict.fromkeys((*names, *_MARKS)))
    return [find_strace(), "-q", "-y", "-s", "40", "-o", str(out), "-e", f"trace={watched}"]


def counting(out: Path) -> list[str]:
    """Return the same for every call that changes something."""
    return watching(out, (*CHANGING, *PAUSES))


def killing(out: Path, at: Call) -> list[str]:
    """Return the same with a kill at one call."""
    return [*watching(out, (at.name,)), "-e", f"inject={at.name}:signal=KILL:when={at.number}"]


def failing(out: Path, at: Call, error: str, *, lasting: bool) -> list[str]:
    """Return the same with a failure of one call, or of it and all that follow it."""
    when = f"{at.number}{'+' if lasting else ''}"
    return [*watching(out, (at.name,)), "-e", f"inject={at.name}:error={error}:when={when}"]


def calls(out: Path) -> list[Call]:
    """Return every call after the marker, in order."""
    counts: Counter[str] = Counter()
    found: list[Call] = []
    for line in out.read_text(encoding="utf-8", errors="replace").splitlines():
        matched = _LINE.match(line)
        if matched is None:
            continue
        if matched[1] in _MARKS:
            if MARKER in matched[2]:
                found.clear()  # it is asked until strace sees it; what lies between are pauses
            continue
        counts[matched[1]] += 1
        found.append(Call(matched[1], counts[matched[1]], matched[2]))
    turns: Counter[tuple[str, ...]] = Counter()
    numbered = []
    for call in found:
        turns[call.kind] += 1
        numbered.append(replace(call, turn=turns[call.kind]))
    return numbered


def changing(found: list[Call]) -> list[Call]:
    """Return the calls that change something."""
    return [
        call
        for call in found
        if call.name in CHANGING and not (call.name in _HARMLESS and _HARMLESS[call.name](call.text))
    ]


def forks(found: list[Call]) -> int:
    """Return how many processes (threads are none) were forked."""
    return sum(call.name in ("fork", "vfork", "clone", "clone3") and "CLONE_THREAD" not in call.text for call in found)


def hit(out: Path, planned: Call) -> Call | None:
    """Return the call that was killed, as strace saw it; None where the kill never came or came elsewhere."""
    if not out.exists() or "+++ killed by SIGKILL +++" not in out.read_text(encoding="utf-8", errors="replace"):
        return None
    seen = [call for call in calls(out) if call.name == planned.name]
    # A call that was killed has no result: strace shows a question mark.
    return seen[-1] if len(seen) == planned.number and seen[-1].text.rstrip().endswith("= ?") else None


def failed(out: Path, planned: Call) -> Call | None:
    """Return the call that was made to fail, as strace saw it; None where it never came."""
    seen = calls(out) if out.exists() else []
    return next((call for call in seen if call.name == planned.name and "(INJECTED)" in call.text), None)


def again(out: Path, missed: Call) -> Call:
    """Return the missed call as the trace of the miss numbers it; itself where that trace does not have it."""
    same = (
        [call for call in calls(out) if call.kind == missed.kind and call.turn == missed.turn] if out.exists() else []
    )
    return replace(missed, number=same[0].number) if same else missed
