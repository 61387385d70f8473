# SPDX-License-Identifier: Apache-2.0
"""Play one step of a drill: `chaos run` in a process group of its own, with a deadline and an orderly stop."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from chaosgpu.cli.drill_plan import recover_dead
from chaosgpu.cli.play_job import play_job
from chaosgpu.drill.playing import Played, Step
from chaosgpu.drill.state import DrillFolder

__all__ = ["Watch", "play_step"]

_LOOK_EVERY_S = 0.2
_LAST_LINES_S = 2.0
_LEFT = ("not restored", "quarantined", "unfinished")


# Should the drill be killed, the run gets an orderly stop. A process of its own asks for that, since a function between
# fork and exec must not run where there are threads.
_DIE_WITH_PARENT = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 15, 0, 0, 0); os.execv(sys.argv[1], sys.argv[1:])"
)


class Watch:
    """Waits for one `chaos run`: hands on its lines, stops it in order, and ends its group where that fails."""

    def __init__(self, step: Step, why_stop: Callable[[], str | None], say: Callable[[str], None]) -> None:
        self._step, self._why_stop, self._say = step, why_stop, say
        self.stopped: str | None = None
        self.killed = False

    def __call__(self, command: Sequence[str], environment: Mapping[str, str]) -> int:
        """Run it to its end; return its status."""
        child = subprocess.Popen(
            [sys.executable, "-S", "-c", _DIE_WITH_PARENT, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**environment, **self._step.environment, "PYTHONUNBUFFERED": "1"},
            text=True,
            errors="replace",
            start_new_session=True,
        )
        reader = threading.Thread(target=self._read, args=(child.stdout,), daemon=True)
        reader.start()
        try:
            return self._wait(child)
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            reader.join(_LAST_LINES_S)

    def _wait(self, child: "subprocess.Popen[str]") -> int:
        deadline = time.monotonic() + self._step.deadline_s
        while True:
            with suppress(subprocess.TimeoutExpired):
                return child.wait(_LOOK_EVERY_S)
            if self.stopped is None:
                over = time.monotonic() >= deadline
                self.stopped = f"its deadline of {self._step.deadline_s:g} s was over" if over else self._why_stop()
                if self.stopped is not None:
                    deadline = time.monotonic() + self._step.undo_s
                    self._say(f"STOPPING in order: {self.stopped}")
                    child.send_signal(signal.SIGTERM)
            elif time.monotonic() >= deadline:
                self.killed = True
                self._say(f"KILLED: it did not end within {self._step.undo_s:g} s of its stop")
                child.kill()
                return child.wait()

    def _read(self, lines: IO[str]) -> None:
        with suppress(ValueError, OSError), lines:
            for line in lines:
                self._say(line.rstrip("\n"))


def play_step(step: Step, why_stop: Callable[[], str | None], say: Callable[[str], None]) -> Played:
    """Play it to its end."""
    watch = Watch(step, why_stop, say)
    runs = Path(step.environment["CHAOSGPU_RUNS"])
    found, _ = play_job(step.experiment, step.settings, None, runs, watch)
    name = found.get("run")
    directory = runs / name if isinstance(name, str) else None
    hosts = found.get("hosts")
    left = {
        host: str(how) for host, how in (hosts.items() if isinstance(hosts, dict) else ()) if str(how).startswith(_LEFT)
    }
    if directory is not None and (watch.killed or found.get("verdict") is None):
        still = recover_dead(DrillFolder(step.experiment.parent).load(), directory)
        left = {} if still is None else {"of its hosts": still}
    verdict = str(found.get("verdict") or "inconclusive")
    return Played(
        directory, verdict if not watch.killed or not left else "unsafe", str(found.get("reason")), left, watch.stopped
    )
