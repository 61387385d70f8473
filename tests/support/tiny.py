# SPDX-License-Identifier: Apache-2.0
"""Activities and a control for experiments against the tiny agent in the folder $TINY_AGENT."""

import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

from chaosgpu.errors import ReadingUnknown
from chaosgpu.fleet import ask
from chaosgpu.fleet.transports.local import LocalTransport
from chaosgpu.lease import apply


def configure_control() -> None:
    """Reach the tiny agent instead of the real one."""
    agent = Path(__file__).with_name("tiny_agent.py")
    ask._Chosen.transport = LocalTransport([sys.executable, str(agent), os.environ["TINY_AGENT"]])


def break_it(mode: str = "ok", duration_s: float = 20, timeout_s: float = 10, gpu: str = "GPU-tiny") -> dict[str, Any]:
    """Put the tiny fault in."""
    return apply.apply_fault(
        "tiny.flag", {"mode": mode, "gpu": gpu}, duration_s=duration_s, hosts="localhost", timeout_s=timeout_s
    )


def set_margin(seconds: float) -> None:
    """Let leases end sooner after their duration than they do, so that a test need not wait."""
    apply.MARGIN_S = seconds


def wait(seconds: float, mark: str = "") -> str:
    """Wait; the file named by `mark` tells the test that we are here."""
    if mark:
        Path(mark).write_text("here")
    time.sleep(seconds)
    return "waited"


def fail(say: str = "on purpose") -> None:
    """Fail."""
    raise RuntimeError(say)


def holds(until_broken: bool = False) -> bool:
    """Hold, or hold as long as the flag is not broken."""
    return not (until_broken and (Path(os.environ["TINY_AGENT"]) / "broken").exists())


def hangs_when_broken(seconds: float = 60) -> bool:
    """Hold, and come back no more once the flag is broken."""
    if not holds(until_broken=True):
        time.sleep(seconds)
    return True


def is_unknown() -> bool:
    """Cannot know."""
    raise ReadingUnknown("nobody knows")


def says(value: object = None) -> object:
    """Return what it is given."""
    return value


def breaks_the_tolerance() -> None:
    """Return None where a number is promised: Chaos Toolkit dies of it."""


def limit_files(size_bytes: int) -> None:
    """Let no file of this process grow beyond a size: a full disk, for whoever writes next."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, resource.RLIM_INFINITY))


def set_aside(where: str = "") -> str:
    """Break the flag without any lease, as a plain action would."""
    (Path(os.environ["TINY_AGENT"]) / "broken").write_text(where or "plain")
    return "broken"


def end_pin() -> None:
    """End every lease of a lifecycle as a host does at its deadline."""
    store = Path(os.environ["TINY_AGENT"]) / "leases.json"
    leases = json.loads(store.read_text())
    ended = {name: {**one, "state": "clean", "ended_by": "deadline"} for name, one in leases.items() if "-pin" in name}
    store.write_text(json.dumps({**leases, **ended}))
