# SPDX-License-Identifier: Apache-2.0
"""The generator's own process: reads a plan from standard input, sends it, writes the series, and ends.

It ends with its schedule, when standard input is closed (its controller is gone, or stops it), on SIGTERM, and in any
case by a deadline of the kernel's.
"""

import asyncio
import gc
import json
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from chaosgpu.errors import ChaosGpuError, Unreachable
from chaosgpu.fleet.values import JsonObject
from chaosgpu.traffic.clockwork import precise_loop
from chaosgpu.traffic.kserve import prompts_of_model
from chaosgpu.traffic.plain import prompts_of_file
from chaosgpu.traffic.plan import TrafficPlan, address
from chaosgpu.traffic.prompt import Prompt
from chaosgpu.traffic.sender import Sender

__all__ = ["main", "prompts_for", "run_plan"]

_CONNECT_S = 5.0
_FILES_KEPT = 64
# After the last request has had its time nothing is left to do.
_GRACE_S = 15.0


def main() -> int:
    """Send one plan."""
    return run_plan(TrafficPlan.from_json(sys.stdin.readline()), tied=True)


def run_plan(plan: TrafficPlan, *, tied: bool) -> int:
    """Send a plan to its end. `tied`: the end of standard input ends it too."""
    loop = precise_loop()
    try:
        prompts = prompts_for(plan)
        where = _reachable(plan.url)
    except ChaosGpuError as error:
        _say({"error": str(error), "kind": type(error).__name__})
        return 1
    signal.alarm(int(plan.duration_s + plan.timeout_s + _GRACE_S) + 1)
    descriptor = os.open(plan.series, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as series:
        _send(loop, plan, prompts, where, series, tied=tied)
    return 0


def prompts_for(plan: TrafficPlan) -> list[Prompt]:
    """Build the plan's prompts."""
    if plan.model is not None:
        return prompts_of_model(plan, plan.model)
    return prompts_of_file(plan, Path(plan.requests or ""))


def _send(
    loop: asyncio.AbstractEventLoop,
    plan: TrafficPlan,
    prompts: Sequence[Prompt],
    where: tuple[str, int],
    series: TextIO,
    *,
    tied: bool,
) -> None:
    """Send, and write the series."""
    started_at = time.time()

    def write(line: str) -> None:
        series.write(line + "\n")
        series.flush()

    sender = Sender(plan, prompts, where, _connections(), lambda second: write(second.line(started_at, plan.timeout_s)))
    ended = "schedule"

    def stop(why: str) -> None:
        nonlocal ended
        ended = why
        if tied:
            loop.remove_reader(sys.stdin.fileno())
        sender.stop()

    if tied:
        loop.add_reader(sys.stdin.fileno(), stop, "stopped")
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop, signum.name)
    head: JsonObject = {"started_at": round(started_at, 3), "prompts": len(prompts)}
    write(json.dumps({**head, **json.loads(plan.to_json())}))
    _say(head)
    gc.freeze()  # what was made so far stays: the collector must not walk through it while requests are due
    loop.run_until_complete(sender.run())
    write(json.dumps({"ended": ended, "at": round(time.time(), 3)}))


def _reachable(url: str) -> tuple[str, int]:
    """Find the address that takes connections, once: a name is not looked up again for every connection."""
    host, port = address(url)
    why = "it has no address"
    try:
        for *_, found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            where = (str(found[0]), int(found[1]))
            try:
                socket.create_connection(where, timeout=_CONNECT_S).close()
            except OSError as error:
                why = error.strerror or str(error)
            else:
                return where
    except OSError as error:
        why = error.strerror or str(error)
    raise Unreachable(f"No traffic was sent to {url}: {why}. Start it while the service is up.")


def _connections() -> int:
    """Let this process open as many connections as it may, and return how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return max(1, min(hard, 1 << 20) - _FILES_KEPT)


def _say(document: JsonObject) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
