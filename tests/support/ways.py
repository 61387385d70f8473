# SPDX-License-Identifier: Apache-2.0
"""Activities that do what loses rollbacks: raise, hang, leave, interrupt, vanish. And a fault without any lease."""

import importlib
import os
import signal
import sys
import threading
import time
from pathlib import Path

from chaoslib.exceptions import InterruptExecution
from chaoslib.exit import exit_gracefully, exit_ungracefully

_LONG_S = 600.0


def break_plainly() -> None:
    """Change the text in the test's file, as a plain action would."""
    Path(os.environ["TEST_FILE"]).write_text("broken")


def mend_plainly() -> None:
    """Change it back, as a plain rollback would."""
    Path(os.environ["TEST_FILE"]).write_text("well")


def _is_broken() -> bool:
    return Path(os.environ["TEST_FILE"]).read_text() != "well"


def holds() -> bool:
    """Hold."""
    return True


def deviates(at_once: bool = False) -> bool:
    """Hold as long as the file is well."""
    return not (at_once or _is_broken())


def raises(at_once: bool = False) -> bool:
    """Raise once the file is broken: the host is down."""
    if at_once or _is_broken():
        raise ConnectionRefusedError("nobody answers")
    return True


def gives_nothing() -> float | None:
    """Give no number once the file is broken: the tolerance raises."""
    return None if _is_broken() else 1.0


def hangs(mark: str = "", at_once: bool = False) -> bool:
    """Come back no more once the file is broken."""
    if at_once or _is_broken():
        if mark:
            Path(mark).write_text("here")
        time.sleep(_LONG_S)
    return True


def interrupt() -> None:
    """Interrupt, as a control or an activity may."""
    raise InterruptExecution("on purpose")


def leave(code: int) -> None:
    """Call sys.exit."""
    sys.exit(code)


def leave_ungracefully() -> None:
    """Have the process end without rollbacks, by Chaos Toolkit's own way."""
    exit_ungracefully()  # type: ignore[no-untyped-call]  # untyped there


def kill_itself(by: str) -> None:
    """Send this process a signal."""
    os.kill(os.getpid(), getattr(signal, by))
    time.sleep(0.2)


def swallows(seconds: float, mark: str) -> str:
    """Wait with a broad except around it, as many activities do."""
    try:
        Path(mark).write_text("here")
        time.sleep(seconds)
    except Exception:  # noqa: BLE001 (what careless code does is the point)
        return "went on"
    return "waited"


def no_json() -> set[int]:
    """Return what no journal can hold."""
    return {1, 2}


def vanish(gone: str, path: str) -> None:
    """Take a module away while the run goes on."""
    Path(path).unlink()
    sys.modules.pop(gone, None)
    importlib.invalidate_caches()


def trip_when(mark: str) -> None:
    """Do as the safeguards of chaostoolkit-addons: from a thread end the run gracefully, once a file is there."""

    def trip() -> None:
        while not Path(mark).exists():
            time.sleep(0.02)
        exit_gracefully()  # type: ignore[no-untyped-call]  # untyped there

    threading.Thread(target=trip, daemon=True).start()
