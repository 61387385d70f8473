# SPDX-License-Identifier: Apache-2.0
"""What the agent's way costs over bare NVML: an action over the setter, a probe over the getter. Both sides in turn.

`measure` makes a simulated GPU and an agent home and runs this file inside them.
"""

import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from chaosgpu.fleet.values import JsonObject
from figures import Figure, at_most

_ROUNDS = 15
_RAW_PROCESS = """
import pynvml as n
n.nvmlInit()
h = n.nvmlDeviceGetHandleByIndex(0)
{work}
n.nvmlShutdown()
"""
_SET = "n.nvmlDeviceSetPowerManagementLimit(h, 400000); n.nvmlDeviceGetPowerManagementLimit(h)"
_GET = "n.nvmlDeviceGetMemoryInfo(h, version=n.nvmlMemory_v2)"


def measure() -> list[Figure]:
    """Return the costs and their ratios, from one run on a simulated H100."""
    from chaosgpu.sim import instance  # noqa: PLC0415 (the inner process must not need it)

    policy = {"version": 1, "permit": ["gpu.*"], "max_duration_s": 600, "protected": {"units": [], "gpus": []},
              "approvals": {"required": False, "allowed_signers": None}, "python": None}  # fmt: skip
    with TemporaryDirectory() as folder:
        home = Path(folder) / "agent"
        home.mkdir(mode=0o700)
        (home / "policy.json").write_text(json.dumps(policy), encoding="utf-8")
        simulated = instance.create(Path(folder) / "sim", "h100", 1)
        try:
            done = subprocess.run(
                [sys.executable, __file__], check=True, capture_output=True, text=True, timeout=300, cwd=folder,
                env={**os.environ, **simulated.environment(), "CHAOSGPU_AGENT_HOME": str(home)},
            )  # fmt: skip
        finally:
            simulated.remove()
    got: dict[str, float] = json.loads(done.stdout)
    return [
        *(
            Figure(name, round(value, 4), "ms", "shown", None)
            for name, value in got.items()
            if not name.startswith("fill")
        ),
        Figure(
            "action over a raw process (ratio)",
            round(got["action"] / got["raw setter, own process"], 2),
            "x",
            "shown",
            None,
        ),
        Figure(
            "action over the raw setter (ratio)", round(got["action"] / got["raw setter, call"], 0), "x", "shown", None
        ),
        Figure(
            "probe over a raw process (ratio)",
            round(got["probe"] / got["raw getter, own process"], 2),
            "x",
            "shown",
            None,
        ),
        Figure(
            "probe over the raw getter (ratio)", round(got["probe"] / got["raw getter, call"], 0), "x", "shown", None
        ),
        at_most("memory fill: first block to 90 % of the level", got["fill_s"], "s", 1),
        at_most("memory fill: start of the action to 90 % of the level", got["fill_from_start_s"], "s", 1),
    ]


def _milliseconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1000


def _inside() -> dict[str, float]:
    import pynvml  # noqa: PLC0415 (only the inner process has the simulated library)

    from chaosgpu.fleet.ask import ask  # noqa: PLC0415 (likewise)
    from chaosgpu.gpu import probes  # noqa: PLC0415 (likewise)

    pynvml.nvmlInit()
    handle = pynvml.nvmlDeviceGetHandleByIndex(0)
    gpu = pynvml.nvmlDeviceGetUUID(handle)
    held: list[str] = []

    def request(fault: str, params: JsonObject) -> JsonObject:
        return {"fault": fault, "params": {"gpu": gpu, **params}, "ttl_s": 60.0, "max_duration_s": 60.0, "run": "bench"}

    def cap() -> None:
        held.append(str(ask("localhost", "apply", request("gpu.power.cap", {"watts": 400}), 30.0)["lease"]))

    def raw(work: str) -> None:
        subprocess.run([sys.executable, "-c", _RAW_PROCESS.format(work=work)], check=True, timeout=30)

    sides: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "raw setter, call": (
            lambda: _thousand(lambda: pynvml.nvmlDeviceSetPowerManagementLimit(handle, 700000)),
            _nothing,
        ),
        "raw setter, own process": (
            lambda: raw(_SET),
            lambda: pynvml.nvmlDeviceSetPowerManagementLimit(handle, 700000),
        ),
        "action": (cap, lambda: ask("localhost", "undo", {"lease": held[-1]}, 30.0)),
        "raw getter, call": (
            lambda: _thousand(lambda: pynvml.nvmlDeviceGetMemoryInfo(handle, pynvml.nvmlMemory_v2)),
            _nothing,
        ),
        "raw getter, own process": (lambda: raw(_GET), _nothing),
        "probe": (lambda: probes.memory_used_percent(gpu), _nothing),
    }
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(_ROUNDS):
        for name, (work, after) in sides.items():
            taken = _milliseconds(work)
            times[name].append(taken / 1000 if name.endswith("call") else taken)
            after()
    figures = {name: statistics.median(measured) for name, measured in times.items()}
    return {**figures, **_fill(gpu, request)}


def _fill(gpu: str, request: Callable[[str, JsonObject], JsonObject]) -> dict[str, float]:
    """Return the seconds to 90 % of the level, from the first block and from the start of the action, as NVML sees."""
    import pynvml  # noqa: PLC0415 (only the inner process has the simulated library)

    from chaosgpu.fleet.ask import ask  # noqa: PLC0415 (likewise)

    handle = pynvml.nvmlDeviceGetHandleByUUID(gpu)
    before = pynvml.nvmlDeviceGetMemoryInfo(handle).used
    seen: list[tuple[float, int]] = []
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.002):
            seen.append((time.perf_counter(), pynvml.nvmlDeviceGetMemoryInfo(handle).used))

    watcher = threading.Thread(target=look)
    watcher.start()
    start = time.perf_counter()
    try:
        answer = ask("localhost", "apply", request("gpu.memory.fill", {"used_percent": 90}), 30.0)
    finally:
        over.set()
        watcher.join()
    ask("localhost", "undo", {"lease": answer["lease"]}, 30.0)
    level = 0.9 * pynvml.nvmlDeviceGetMemoryInfo(handle).total
    context = 1 << 30  # a holder's context takes a few hundred MiB before its gate is opened
    first = next(moment for moment, used in seen if used > before + context)
    reached = next(moment for moment, used in seen if used >= 0.9 * level)
    return {"fill_s": reached - first, "fill_from_start_s": reached - start}


def _thousand(work: Callable[[], object]) -> None:
    for _ in range(1000):
        work()


def _nothing() -> None:
    return None


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_inside()))
