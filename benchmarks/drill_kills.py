# SPDX-License-Identifier: Apache-2.0
"""Kill a drill, or what ends a dead one, with -9 at its nth write, and compare what the log says with what is so."""

import contextlib
import os
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

from chaosgpu.drill.course import run_drill
from chaosgpu.drill.settle import end_dead_drills

if TYPE_CHECKING:
    from chaosgpu.drill.planfile import Written
    from support.drills import World

__all__ = ["kill_drill", "kill_settling", "wrong_in_log"]


def kill_drill(world: "World", written: "Written", point: int) -> bool:
    """Run a drill in a process that kills itself at its nth write; return whether it got that far."""
    return _killed(lambda: run_drill(written, world.means()), point)


def kill_settling(world: "World", point: int) -> bool:
    """Do likewise with what the next start does about dead drills."""
    home = world.site.path(world.site.drills)
    return _killed(lambda: end_dead_drills(home, world.record, lambda *_: None), point)


def _killed(deed: Callable[[], object], point: int) -> bool:
    child = os.fork()
    if child == 0:
        count = 0
        sync = os.fsync

        def struck(file: int) -> None:
            nonlocal count
            count += 1
            if count == point:
                os.kill(os.getpid(), signal.SIGKILL)
            sync(file)

        os.fsync = struck  # type: ignore[assignment]  # every write of log, ledger and state ends with one
        with contextlib.suppress(BaseException):
            deed()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def wrong_in_log(world: "World") -> list[str]:
    """Return where the verification of the log says something else than what is missing, or finds a problem."""
    log = world.record.read()
    started = {str(one["attempt"]) for one in log.entries if one["type"] == "started"}
    open_ones = started - {str(one["attempt"]) for one in log.entries if one["type"] in ("finished", "aborted")}
    said = [any(f"Attempt {name} " in one for one in log.missing) for name in open_ones]
    wrong = [one for one in log.problems if "is torn" not in one]
    if not all(said) or len(log.missing) != len(open_ones):
        wrong.append(f"the log says {log.missing}, and these are open: {sorted(open_ones)}")
    return wrong
