# SPDX-License-Identifier: Apache-2.0
"""Owns Triton and the traffic of one lab: starts them, waits for the end of the lab, ends them in order."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from chaosgpu.lab.plan import TIED, LabPlan
from chaosgpu.lab.processes import die_with_parent

__all__ = ["main"]

# Triton waits for requests in flight; a fragile model that waits for memory never ends them, so this is short.
_TRITON_END_S = 2.0
_TRAFFIC_END_S = 1.0
_SERVICE_END_S = 1.0
_POLL_S = 0.1


def triton_command(plan: LabPlan) -> list[str]:
    """Return tritonserver's command line: explicit models, loopback addresses, names that are ours alone."""
    port = plan.http_port
    return [
        plan.server,
        f"--model-repository={plan.path('repository')}",
        "--model-control-mode=explicit",
        *(f"--load-model={model}" for model in plan.models),
        f"--backend-directory={plan.backends}",
        f"--backend-config=python,shm-region-prefix-name={plan.shm_prefix}",
        *(f"--{kind}-address=127.0.0.1" for kind in ("http", "grpc", "metrics")),
        *(f"--{kind}-port={port + at}" for at, kind in enumerate(("http", "grpc", "metrics"))),
        "--exit-timeout-secs=1",
    ]


def _start(plan: LabPlan, name: str, command: list[str], environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    with plan.path(f"{name}.log").open("ab") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=plan.path("tmp"),
            start_new_session=True,  # a service of its own: stopping it must not stop the lab around it
            preexec_fn=die_with_parent(signal.SIGKILL, os.getpid()),  # noqa: PLW1509 (no other thread yet)
        )


def _end(process: "subprocess.Popen[bytes]", within_s: float) -> None:
    process.terminate()
    try:
        process.wait(within_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class _Over:
    """Whether the lab shall end. A plain flag: an Event set by a signal handler deadlocks with its own wait."""

    asked = False

    def ask(self, *_: object) -> None:
        """Say that it shall."""
        self.asked = True

    def watch_tie(self) -> None:
        """End the lab when the other end of standard input is closed: `lab run` holds it open."""
        while os.read(0, 4096):
            pass
        self.ask()


def main(directory: str) -> int:
    """Run one lab until a signal, the end of its lifetime, the end of Triton, or the end of who started it."""
    plan = LabPlan.read(Path(directory))
    if plan is None:
        return 2
    over = _Over()
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(signum, over.ask)
    end = time.monotonic() + plan.lifetime_s
    triton = _start(plan, "triton", triton_command(plan), plan.serving)
    services = [_start(plan, one.name, list(one.command), one.environment) for one in plan.services]
    traffic = None
    if plan.with_traffic:
        module = "chaosgpu.lab.pipeline_traffic" if "embed" in plan.models else "chaosgpu.lab.traffic"
        command = [sys.executable, "-m", module, directory]
        traffic = _start(plan, "traffic", command, {**os.environ, **plan.exported})
    if os.environ.get(TIED) == "1":
        threading.Thread(target=over.watch_tie, daemon=True).start()
    while not over.asked and time.monotonic() < end and triton.poll() is None:
        time.sleep(_POLL_S)
    if traffic is not None:
        _end(traffic, _TRAFFIC_END_S)
    for service in reversed(services):
        _end(service, _SERVICE_END_S)
    _end(triton, _TRITON_END_S)
    for region in plan.leftover_shm():  # the guardian does it too; but it may have been killed
        region.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
