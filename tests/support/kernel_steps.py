# SPDX-License-Identifier: Apache-2.0
"""What the quick tests of the kernel share: a file to break, a host without processes, a holder that is `sleep`."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

from chaosgpu.agent.faults.contract import Context, Held, HolderPlan, Restored
from chaosgpu.agent.folder import LeaseFolder
from chaosgpu.agent.host import Host
from chaosgpu.agent.order import Order, parse_order
from chaosgpu.agent.process import Identity, alive, identity
from chaosgpu.agent.record import State
from chaosgpu.agent.values import JsonMapping, JsonObject
from support.agent_faults import FileParams, FileSet
from support.lease_world import World

__all__ = ["Bench", "Holder", "HoldingFile", "a_bench", "a_holder", "with_holder"]


class HoldingFile(FileSet):
    """The text in a file, and a holder beside it; what it was asked is kept."""

    def __init__(self) -> None:
        self.seen: list[Held | None] = []

    def holder(self, params: FileParams, prior: JsonMapping) -> HolderPlan | None:  # noqa: ARG002 (contract)
        return HolderPlan("sleep", {"for": "ever"})

    def verify(self, params: FileParams, prior: JsonMapping, held: Held | None, context: Context) -> JsonObject:
        self.seen.append(held)
        return super().verify(params, prior, held, context)

    def restored(self, params: FileParams, prior: JsonMapping, held: Held | None, context: Context) -> Restored:
        self.seen.append(held)
        return super().restored(params, prior, held, context)


class Holder:
    """A holder as `apply` sees it: a real process, and a gate that is only noted."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(["sleep", "60"], start_new_session=True)
        found = identity(self.process.pid)
        assert found is not None
        self.identity: Identity = found
        self.gate: list[str] = []

    def let_go(self) -> None:
        self.gate.append("go")

    def close(self) -> None:
        self.gate.append("closed")

    @property
    def ended(self) -> bool:
        return not alive(self.identity)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


@dataclass
class Bench:
    """One host, one file, one user; `steps` are the names of what an apply or an undo has done."""

    folder: Path
    world: World = field(init=False)
    steps: list[str] = field(default_factory=list)
    at: dict[str, Callable[[], Any]] = field(default_factory=dict)
    changes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.world = World(self.folder)
        self.file = self.folder / "x"
        self.file.write_text("well")

    @property
    def host(self) -> Host:
        """The host; what `at` has for a step happens there."""

        def step(name: str) -> None:
            self.steps.append(name)
            self.at.pop(name, lambda: None)()

        return replace(self.world.host("ann"), step=step, **self.changes)

    def order(self, lease: str = "l1", **changes: Any) -> Order:
        params: JsonObject = {"path": str(self.file), "value": "broken"}
        params.update({key: changes.pop(key) for key in ("breaks", "until", "value") if key in changes})
        asked: JsonObject = {"fault": "test.file.set", "params": params, "ttl_s": 20, "max_duration_s": 60, "run": "r1"}
        return parse_order({"lease": lease, **asked, **changes})

    def lease(self, lease: str = "l1") -> LeaseFolder:
        return self.host.folder(lease)

    def state(self, lease: str = "l1") -> State:
        state = self.lease(lease).seen()
        assert state is not None
        return state

    def set(self, state: State, lease: str = "l1") -> None:
        self.lease(lease).save(state)

    def claims(self) -> list[Path]:
        return sorted(self.folder.glob("chaosgpu-claim-*.json"))


@contextmanager
def a_bench(folder: Path) -> Iterator[Bench]:
    """Give a bench on which no holder process is looked for."""
    with mock.patch("chaosgpu.agent.holding.tagged", return_value=[]):
        yield Bench(folder)


@contextmanager
def a_holder() -> Iterator[Holder]:
    """Give a holder that is ended afterwards."""
    made = Holder()
    try:
        yield made
    finally:
        made.end()


def with_holder(bench: Bench) -> HoldingFile:
    """Let the fault have a holder."""
    fault = HoldingFile()
    bench.changes["faults"] = lambda: {fault.name: fault}
    bench.world.clock.naps_s = 0.001
    return fault
