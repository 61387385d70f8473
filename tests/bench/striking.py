# SPDX-License-Identifier: Apache-2.0
"""Strikes a controller at a named moment of its run: killed, stopped, or gone with all that it has started.

In the controller it is a control and the activities of an experiment. Between the controller and a host it is the
command that reaches the agent (`python striking.py VERB`): it strikes before it asks, meanwhile, or with the answer.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

__all__ = ["BLOWS", "PHASES", "break_gpu", "holds", "started_by", "strike", "wait"]

PHASES = (
    "before apply", "during apply", "apply done and not answered", "active", "during renew", "hypothesis after",
    "before undo", "during undo", "undo done and not answered", "after the rollbacks",
)  # fmt: skip
BLOWS = ("kill", "stop", "gone")
_ASKED = {
    "before apply": ("apply", "before"),
    "during apply": ("apply", "during"),
    "apply done and not answered": ("apply", "after"),
    "during renew": ("renew", "during"),
    "before undo": ("undo", "before"),
    "during undo": ("undo", "during"),
    "undo done and not answered": ("undo", "after"),
}
_INTO_S = 0.15  # so long an apply or undo has been under way when it is struck


def strike() -> None:
    """Strike the controller, once a run; what dies with it is up to the blow."""
    told = json.loads(os.environ["STRIKE"])
    struck = Path(told["struck"])
    if struck.exists():
        return
    struck.write_text(f"{time.clock_gettime(time.CLOCK_BOOTTIME)}")
    controller = int(Path(told["controller"]).read_text())
    if told["blow"] == "gone":
        for pid in started_by(told["struck"]):
            if pid not in (controller, os.getpid()):
                os.kill(pid, signal.SIGKILL)
    os.kill(controller, signal.SIGSTOP if told["blow"] == "stop" else signal.SIGKILL)
    if told["blow"] == "gone":
        os.kill(os.getpid(), signal.SIGKILL)


def started_by(mark: str) -> list[int]:
    """List the processes of this run, wherever they are: its environment names the run's own file."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if mark.encode() in (folder / "environ").read_bytes():
                    found.append(int(folder.name))
            except OSError:
                continue  # it ended meanwhile
    return found


def _strike_in(phase: str) -> None:
    if json.loads(os.environ["STRIKE"])["phase"] == phase:
        strike()


# --- in the controller ---


def configure_control() -> None:
    """Reach a host's agent over SSH, through this file."""
    from chaosgpu.fleet import ask  # noqa: PLC0415 (the command that reaches the agent must start fast)
    from chaosgpu.fleet.transports.local import LocalTransport  # noqa: PLC0415 (likewise)
    from chaosgpu.lease import apply, renewal  # noqa: PLC0415 (likewise)

    told = json.loads(os.environ["STRIKE"])
    Path(told["controller"]).write_text(str(os.getpid()))
    ask._Chosen.transport = LocalTransport([sys.executable, "-I", "-S", __file__])
    apply.TTL_S, apply.MARGIN_S = told["ttl_s"], 10.0
    if "renewer" in told:
        renewal.RENEWER = (sys.executable, told["renewer"])


def after_rollback_control(context: object, state: object) -> None:  # noqa: ARG001 (the names are Chaos Toolkit's)
    """Strike when all is undone and nothing judged yet."""
    _strike_in("after the rollbacks")


def break_gpu(gpu: str, fault: str, params: dict[str, Any], duration_s: float = 60.0) -> dict[str, Any]:
    """Put a fault in on one GPU of the host."""
    from chaosgpu.lease import apply  # noqa: PLC0415 (likewise)

    return apply.apply_fault(fault, {"gpu": gpu, **params}, duration_s=duration_s, hosts="localhost", timeout_s=30)


def wait(seconds: float) -> str:
    """Wait while the fault is in force."""
    active = Path(json.loads(os.environ["STRIKE"])["active"])
    active.touch()
    _strike_in("active")
    time.sleep(seconds)
    return "waited"


def holds() -> bool:
    """Hold; the second time is after the method."""
    if Path(json.loads(os.environ["STRIKE"])["active"]).exists():
        _strike_in("hypothesis after")
    return True


# --- between the controller and the host ---


def _carry(verb: str) -> int:
    told = json.loads(os.environ["STRIKE"])
    when = next((when for phase, (asked, when) in _ASKED.items() if (phase, asked) == (told["phase"], verb)), "")
    request = sys.stdin.buffer.read()
    if when == "before":
        strike()
    with subprocess.Popen([*told["agent"], verb], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as asking:
        if asking.stdin is None or asking.stdout is None:
            return 1
        asking.stdin.write(request)
        asking.stdin.close()
        if when == "during":
            time.sleep(_INTO_S)
            strike()
        answer = asking.stdout.read()
        status = asking.wait()
    if when == "after":
        strike()
    sys.stdout.buffer.write(answer)
    sys.stdout.flush()
    return status


if __name__ == "__main__":
    sys.exit(_carry(sys.argv[1]))
