# SPDX-License-Identifier: Apache-2.0
"""The lab's outermost process: starts the supervisor, and cleans up after it however it ended, `kill -9` included.

Every process of the lab is its descendant, and becomes its child when its own parent dies, so nothing is searched for
by name. If the guardian itself is killed, the kernel tells the supervisor, which then ends the lab in order.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

from chaosgpu.lab.plan import LabPlan, me, process_start, write_json
from chaosgpu.lab.processes import adopt_orphans, die_with_parent, end_descendants

__all__ = ["clean", "main"]

# The supervisor ends by itself at the end of the lab's lifetime; this much later it is not trusted any more.
_GRACE_S = 30.0
# Told to stop it gets this long: Triton's two seconds and some.
_STOP_S = 8.0
_END_S = 10.0
_POLL_S = 0.05


def clean(plan: LabPlan) -> None:
    """Remove what a lab leaves outside its folder, and its temporary files."""
    for region in plan.leftover_shm():
        region.unlink(missing_ok=True)
    shutil.rmtree(plan.path("tmp"), ignore_errors=True)
    plan.path("running.json").unlink(missing_ok=True)


def main(directory: str) -> int:
    """Guard one lab until its supervisor has ended."""
    plan = LabPlan.read(Path(directory))
    if plan is None:
        sys.stderr.write(f"{directory} holds no lab.json\n")
        return 2
    adopt_orphans()
    supervisor = subprocess.Popen(
        [sys.executable, "-m", "chaosgpu.lab.supervisor", directory],
        preexec_fn=die_with_parent(signal.SIGTERM, os.getpid()),  # noqa: PLW1509 (this process has one thread)
    )
    end = time.monotonic() + plan.lifetime_s + _GRACE_S

    def stop(*_: object) -> None:
        nonlocal end
        end = min(end, time.monotonic() + _STOP_S)
        supervisor.terminate()

    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(signum, stop)
    start = process_start(supervisor.pid)
    both = {"guardian": asdict(me()), "supervisor": {"pid": supervisor.pid, "start": start}}
    write_json(plan.path("running.json"), both)
    while supervisor.poll() is None and time.monotonic() < end:
        time.sleep(_POLL_S)
    if supervisor.poll() is None:
        supervisor.kill()
    ended = end_descendants(_END_S)
    clean(plan)
    if not ended:
        sys.stderr.write("a process of the lab did not end within 10 s of SIGKILL\n")
    return 0 if ended else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
