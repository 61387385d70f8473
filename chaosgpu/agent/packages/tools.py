# SPDX-License-Identifier: Apache-2.0
"""The host's package tools: where they look, how they are called, and the deadline after which they are ended."""

import os
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Callable, Mapping, Sequence, Tuple

from chaosgpu.agent.errors import Unanswered
from chaosgpu.agent.process import end_group, identity, process_tree

__all__ = ["Done", "Tools", "of_host", "searched"]

_PR_SET_PDEATHSIG = 1
_ENVIRONMENT: Mapping[str, str] = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
    "DEBCONF_NONINTERACTIVE_SEEN": "true",
    "APT_LISTCHANGES_FRONTEND": "none",
    "NEEDRESTART_SUSPEND": "1",  # it would restart services that nobody has named
}
_MOST_SHOWN = 400


@dataclass(frozen=True)
class Done:
    """How a program ended and what it said."""

    words: Tuple[str, ...]
    status: int
    out: str
    said: str

    @property
    def well(self) -> bool:
        """Tell whether it ended with 0; what it claims is read back all the same."""
        return self.status == 0

    def sentence(self) -> str:
        """Say what was called and what came back."""
        last = " ".join((self.said.strip() or self.out.strip())[-_MOST_SHOWN:].split())
        return f"`{self.words[0]}` ended with {self.status}: {last or 'it said nothing'}"


def searched(first: str) -> str:
    """Return where programs are looked for, with a folder before all others where one is named."""
    return ":".join(part for part in (first, _ENVIRONMENT["PATH"]) if part)


@dataclass(frozen=True)
class Tools:
    """apt and dpkg of one root folder, `/` but in tests; or dnf and rpm, where `rpm` says so.

    `scratch`: where programs put what they need for a moment; empty: where the host has that.
    """

    root: str = "/"
    rpm: bool = False
    now_s: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    scratch: str = ""

    def path(self, name: str) -> Path:
        """Return where a file of the host lies."""
        return Path(self.root) / name.lstrip("/")

    @property
    def manager(self) -> str:
        """What keeps the record of packages, as a sentence names it."""
        return "rpm" if self.rpm else "dpkg"

    def native(self) -> str:
        """Return the architecture of the host as its packages name it; empty where it is not told."""
        words = ("rpm", "--eval", "%{_arch}") if self.rpm else self.dpkg("--print-architecture")
        return self.run(words, 10.0).out.strip()

    @property
    def admin(self) -> Path:
        """Dpkg's own folder."""
        return self.path("/var/lib/dpkg")

    def dpkg(self, *words: str) -> Tuple[str, ...]:
        """Return a call of dpkg."""
        return ("dpkg", *(() if self.root == "/" else (f"--root={self.root}", "--force-unsafe-io")), *words)

    def apt(self, program: str, *words: str) -> Tuple[str, ...]:
        """Return a call of one of apt's programs; its caches are kept in memory, so that a question writes nothing."""
        options = ["Dir::Cache::pkgcache=", "Dir::Cache::srcpkgcache=", "APT::Sandbox::User=root", "APT::Color=0"]
        if self.root != "/":
            inside = (f"--root={self.root}", "--force-unsafe-io")
            options += [f"Dir={self.root}", f"Dir::State::status={self.admin}/status"]
            options += [f"DPkg::Options::={word}" for word in inside]
        return (program, *(part for option in options for part in ("-o", option)), *words)

    def run(
        self,
        words: Sequence[str],
        within_s: float,
        *,
        stdin: str = "",
        cwd: str = "/",
        outlives_us: bool = False,
        read_back: bool = False,
        first: str = "",
    ) -> Done:
        """Run a program to its end; Unanswered where it could not be started, was killed, or ended at its deadline.

        One that was killed has not answered: what it had said until then would be taken for all there is. `read_back`:
        what came of it is read from the host, so that it does not matter how it ended.
        `outlives_us`: it goes on when we are killed. A way back must, or a bound on whoever goes it would break it off
        again and again; a way forth must not, or it would go on after the undo. `first`: a folder that programs are
        looked for in before all others.
        """
        # A service that a package starts may keep what we hand it: files, since nobody waits for their end.
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as given:
            given.write(stdin.encode())
            given.seek(0)
            try:
                child = subprocess.Popen(
                    list(words),
                    stdin=given,
                    stdout=out,
                    stderr=said,
                    cwd=cwd,
                    env={**_ENVIRONMENT, **({"TMPDIR": self.scratch} if self.scratch else {}), "PATH": searched(first)},
                    start_new_session=True,
                    preexec_fn=None if outlives_us else _end_with_us(),  # noqa: PLW1509 (one thread)
                )
            except OSError as error:
                raise Unanswered(f"`{words[0]}` could not be started: {error.strerror}.") from error
            try:
                status = child.wait(max(0.1, within_s))
            except subprocess.TimeoutExpired as error:
                self._end(child)
                raise Unanswered(
                    f"`{' '.join(words[:1])}` was not done within {within_s:.0f} s and was ended, with all that it had "
                    "started. See /var/log/apt/term.log and `ps`: what did it wait for?"
                ) from error
            if status < 0 and not read_back:
                raise Unanswered(f"`{words[0]}` was killed by signal {-status}, before it had said all.")
            out.seek(0)
            said.seek(0)
            return Done(tuple(words), status, out.read().decode(errors="replace"), said.read().decode(errors="replace"))

    def _end(self, child: "subprocess.Popen[bytes]") -> None:
        started = process_tree(child.pid)
        who = identity(child.pid)
        if who is not None:
            end_group(who, self.sleep)
        for one in started[1:]:  # dpkg and its scripts may have a session of their own
            end_group(one, self.sleep)
        child.wait()


def of_host() -> Tools:
    """Return the tools of this host: those of dnf and rpm only where apt and dpkg are not there."""
    there = {name: os.access(f"/usr/bin/{name}", os.X_OK) for name in ("apt-get", "dnf", "dpkg", "rpm")}
    return Tools(rpm=there["dnf"] and there["rpm"] and not (there["apt-get"] and there["dpkg"]))


def _end_with_us() -> Callable[[], object]:
    import ctypes  # noqa: PLC0415 (only where a child is tied to us)

    return partial(_tie, ctypes.CDLL(None), os.getpid())


def _tie(library: "object", parent: int) -> None:
    library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # type: ignore[attr-defined]
    if os.getppid() != parent:  # it died before we were tied to it
        os._exit(127)
