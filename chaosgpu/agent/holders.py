# SPDX-License-Identifier: Apache-2.0
"""The processes that hold a resource: memory to a level, memory at a rate, the GPU's time, or a lone context.

Each prepares what takes time (its CUDA context), says ready, waits for "go", and ends with its lease. The driver gives
back whatever a process held, however it ends, so the undo of each of these is its end.
"""

import time
from typing import Dict

from chaosgpu.agent import values
from chaosgpu.agent.cuda.device import CudaDevice, Spinner
from chaosgpu.agent.cuda.memory import Hoard, leak_due
from chaosgpu.agent.hold import Gate, LeaseView, Role
from chaosgpu.agent.values import JsonObject

__all__ = ["ROLES"]

_MOST = 1 << 62
LOOK_EVERY_S = 1.0
LEAK_STEP_S = 0.05
BURST_S = 0.008  # a launch of this length can be waited for whenever the lease ends
PERIOD_S = 0.1  # one turn of the duty cycle


def fill(request: JsonObject, gate: Gate, lease: LeaseView) -> None:
    """Take memory until `goal_free_bytes` are free, and again every second if others gave some back."""
    hoard = Hoard(_open(request), values.whole(request, "goal_free_bytes", 0, _MOST))
    gate.ready()
    while not lease.over():
        hoard.take(_MOST, lease.over)
        lease.report({"held_bytes": hoard.held, "goal_free_bytes": hoard.goal_free})
        lease.wait(LOOK_EVERY_S)


def leak(request: JsonObject, gate: Gate, lease: LeaseView) -> None:
    """Take memory at a constant rate until `goal_free_bytes` are free or `ceiling_bytes` are held; never give back."""
    hoard = Hoard(_open(request), values.whole(request, "goal_free_bytes", 0, _MOST))
    rate = values.number(request, "rate_bytes_s", 1, float(_MOST))
    ceiling = values.whole(request, "ceiling_bytes", 0, _MOST)
    gate.ready()
    start_s = time.clock_gettime(time.CLOCK_BOOTTIME)
    lease.report({"held_bytes": 0})
    while not lease.over():
        due = leak_due(rate, time.clock_gettime(time.CLOCK_BOOTTIME) - start_s, ceiling)
        if hoard.take(due - hoard.held, lease.over):
            lease.report({"held_bytes": hoard.held, "due_bytes": due})
        lease.wait(LEAK_STEP_S)


def burn(request: JsonObject, gate: Gate, lease: LeaseView) -> None:
    """Keep every SM busy for `duty_percent` of the time, in launches of about 8 ms."""
    spinner = Spinner(_open(request))
    busy_s = PERIOD_S * values.number(request, "duty_percent", 0.0, 100.0) / 100
    gate.ready()
    iterations, launches, reported_s = 1000, 0, 0.0
    while not lease.over():
        start_s = now_s = time.monotonic()
        while now_s - start_s < busy_s:
            spinner.run(iterations)
            launches += 1
            took_s, now_s = time.monotonic() - now_s, time.monotonic()
            iterations = _better(iterations, took_s)
        if now_s - reported_s >= LOOK_EVERY_S:
            reported_s = now_s
            lease.report({"launches": launches, "iterations": iterations})
        if busy_s < PERIOD_S:
            lease.wait(max(0.0, PERIOD_S - (now_s - start_s)))


def squat(request: JsonObject, gate: Gate, lease: LeaseView) -> None:
    """Hold a context and nothing else. It is there before "go": the mode that shuts others out comes after it."""
    device = _open(request)
    gate.ready()
    lease.report({"free_bytes": device.memory()[0]})
    while not lease.wait(LOOK_EVERY_S):
        pass


def _open(request: JsonObject) -> CudaDevice:
    return CudaDevice(values.text(request, "uuid"), values.optional_text(request, "simulator"))


def _better(iterations: int, took_s: float) -> int:
    """Aim at the length of one burst, by no more than a factor of four at a time."""
    factor = min(4.0, max(0.25, BURST_S / max(took_s, 1e-6)))
    return max(1, min(1 << 30, int(iterations * factor)))


ROLES: Dict[str, Role] = {"fill": fill, "leak": leak, "burn": burn, "squat": squat}
