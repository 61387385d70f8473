# SPDX-License-Identifier: Apache-2.0
"""Simulated GPUs, an agent with a home of its own on them, and a clean end."""

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaosgpu.agent.clock import SystemClock
from chaosgpu.agent.driver import ForkedDriver
from chaosgpu.agent.errors import BadRequest
from chaosgpu.agent.faults.contract import Clock, Context, Fault
from chaosgpu.agent.faults.registry import REGISTRY
from chaosgpu.agent.host import ClosableDriver
from chaosgpu.agent.main import Parts, main
from chaosgpu.agent.process import alive, end_group, tagged
from chaosgpu.agent.values import JsonMapping, JsonObject, JsonValue
from chaosgpu.sim import instance as simulator

HERE = Path(__file__).parent
POLICY = {"version": 1, "permit": ["gpu.*"], "max_duration_s": 120}


class Hurried:
    """A clock on which a wait is over at once: for proofs that something does not come."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead_s = 0.0

    def boottime_s(self) -> float:
        """Return the host's time and all that was slept."""
        return self._clock.boottime_s() + self._ahead_s

    def sleep(self, seconds: float) -> None:
        """Do not wait; say that it was."""
        self._ahead_s += seconds


class LyingDriver:
    """A driver whose setters say yes and do nothing."""

    def __init__(self, driver: ClosableDriver) -> None:
        self._driver = driver

    def call(self, name: str, *arguments: JsonValue) -> JsonValue:
        """Pass on what reads, swallow what sets."""
        return None if name.startswith(("set_", "reset_")) else self._driver.call(name, *arguments)

    def close(self) -> None:
        """End the one behind it."""
        self._driver.close()


@dataclass
class Rig:
    """One host with simulated GPUs."""

    folder: Path
    gpus: simulator.Instance
    environment: dict[str, str] = field(default_factory=dict)
    drivers: list[ClosableDriver] = field(default_factory=list)

    @property
    def uuid(self) -> str:
        """The first GPU's UUID."""
        return str(self.gpus.show()[0]["identity"]["uuid"])

    def ask(self, verb: str, request: JsonObject, parts: Parts | None = None) -> JsonObject:
        """Run a verb of the agent in this process; its keeper and holder are processes of their own."""
        out = io.BytesIO()
        raw = io.BytesIO(json.dumps({"protocol": 1, **request}).encode())
        main([verb], raw, out, parts or self.parts(), self.environment)
        answer: JsonObject = json.loads(out.getvalue())
        return answer

    def apply(self, fault: str, params: JsonMapping, *, lease: str | None = None, parts: Parts | None = None) -> Any:
        """Apply a fault for a minute."""
        order: JsonObject = {"fault": fault, "params": dict(params), "ttl_s": 60, "max_duration_s": 60, "run": "test"}
        return self.ask("apply", order | ({} if lease is None else {"lease": lease}), parts)

    def undo(self, lease: object) -> Any:
        """Undo one lease and return its line."""
        leases: Any = self.ask("undo", {"lease": str(lease)})["leases"]
        return leases[0]

    def parts(self, change: Callable[[ClosableDriver], ClosableDriver] = lambda driver: driver) -> Parts:
        """Return the agent's parts, its driver changed."""

        def new_driver(
            environment: Mapping[str, str] | None = None, library: JsonMapping | None = None
        ) -> ClosableDriver:
            return change(ForkedDriver(self.environment if environment is None else environment, library))

        return Parts(
            new_driver=new_driver,
            command=(sys.executable, str(HERE / "fault_agent.py")),
            claims_directory=str(self.folder),
            run_halt=str(self.folder / "run" / "HALT"),
            dev_log=str(self.folder / "log"),
        )

    def context(self) -> Context:
        """Return what a fault gets, for calling its steps one by one."""
        driver = ForkedDriver(self.environment)
        self.drivers.append(driver)
        return Context(driver, SystemClock(), limited_to_home=self.environment["CHAOSGPU_AGENT_HOME"])

    def driver(self) -> ClosableDriver:
        """Return a driver, for acting as somebody else."""
        driver = ForkedDriver(self.environment)
        self.drivers.append(driver)
        return driver

    def victim(self, name: str = "victim") -> tuple[int, Path]:
        """Start a service on the first GPU; return its pid and its folder."""
        folder = self.folder / name
        folder.mkdir()
        before = self.pids_on_gpu()
        subprocess.run(self.start_victim(folder), env=self.environment, check=True, timeout=20)
        (pid,) = self.pids_on_gpu() - before
        return pid, folder

    @staticmethod
    def start_victim(folder: Path) -> list[str]:
        """Return the command that starts a service in this folder."""
        return [sys.executable, str(HERE / "victim.py"), "start", str(folder)]

    def pids_on_gpu(self) -> set[int]:
        """Return who is on the first GPU."""
        return {int(entry["pid"]) for entry in self.gpus.show()[0]["processes"]}

    def settings(self) -> list[dict[str, Any]]:
        """Return everything that does not change by itself, to compare before with after."""
        return self.gpus.settings()

    def ours(self) -> list[int]:
        """Return every process that was started under this home and still runs."""
        return [who.pid for who in tagged("CHAOSGPU_AGENT_HOME", self.environment["CHAOSGPU_AGENT_HOME"])]

    def ours_in_the_end(self) -> list[int]:
        """Return what still runs after the moment that a keeper needs to see that its lease is over."""
        end = time.monotonic() + 5
        while self.ours() and time.monotonic() < end:
            time.sleep(0.02)
        return self.ours()

    def end(self) -> None:
        """End whatever is left, by the tag that all of it carries."""
        for driver in self.drivers:
            driver.close()
        for who in tagged("CHAOSGPU_AGENT_HOME", self.environment["CHAOSGPU_AGENT_HOME"]):
            if alive(who):
                end_group(who, SystemClock().sleep)


def build(folder: Path, profile: str, gpus: int = 1) -> Rig:
    """Make simulated GPUs of one product and an agent's home with a policy."""
    home = folder / "home"
    home.mkdir()
    (home / "policy.json").write_text(json.dumps(POLICY))
    made = simulator.create(folder, profile, gpus, seed=7, simulated_root=True)
    for index, gpu in enumerate(made.show()):  # as a driver starts, and as it is again after a shutdown
        made.set(index, acoustic_celsius=gpu["identity"]["acoustic_max_celsius"])
    environment = {**os.environ, **made.environment(), "CHAOSGPU_AGENT_HOME": str(home)}
    return Rig(folder, made, environment)


def fault_of(name: str) -> Fault[Any]:
    """Return a fault from the registry."""
    return REGISTRY[name]


def refusal(name: str, raw: JsonMapping) -> str:
    """Return the sentence with which the values are refused."""
    try:
        REGISTRY[name].parse(raw)
    except BadRequest as error:
        return str(error)
    raise AssertionError(f"{name} took {raw}")


__all__ = ["Hurried", "LyingDriver", "Rig", "build", "fault_of", "refusal"]
