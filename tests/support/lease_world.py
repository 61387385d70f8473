# SPDX-License-Identifier: Apache-2.0
"""A host in this process for the state machine: the agent's real code on real files, with time, boot and death given.

Real are the kernel, the store, the locks, the claims, the verbs and the fault (a text in a file). Given are the clock,
the start of the host, the driver (there is none), and the keeper process, which is `watch` called when it is its turn.
A process that dies is an exception that nothing in the agent catches, raised at one of its calls that change something.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

from chaosgpu.agent.claims import Claims
from chaosgpu.agent.clock import Boot
from chaosgpu.agent.errors import AgentError, Refused
from chaosgpu.agent.faults.contract import Context
from chaosgpu.agent.folder import LeaseFolder
from chaosgpu.agent.home import Home
from chaosgpu.agent.host import Host
from chaosgpu.agent.policy import Policy
from chaosgpu.agent.values import JsonMapping, JsonObject, JsonValue
from chaosgpu.agent.verbs import VERBS
from chaosgpu.agent.watchdog.watch import watch
from support.agent_faults import FileParams, FileSet

__all__ = ["Died", "KeeperWaits", "Keepers", "ModelClock", "World"]

CHANGING_CALLS = ("fsync", "link", "mkdir", "makedirs", "pwrite", "rename", "rmdir", "unlink", "write")


class Died(BaseException):
    """The process was killed here."""


class KeeperWaits(BaseException):
    """The keeper has looked and sleeps."""


@dataclass
class ModelClock:
    """Time that passes when somebody sleeps, or when the machine says so."""

    now_s: float = 1000.0
    keeper_looks: bool = False
    naps_s: float = 0.0  # where a real process has to get its turn

    def boottime_s(self) -> float:
        return self.now_s

    def wall_s(self) -> float:
        return 1_700_000_000.0 + self.now_s

    def sleep(self, seconds: float) -> None:
        if self.keeper_looks:
            raise KeeperWaits
        time.sleep(self.naps_s)
        self.now_s += max(0.001, seconds)


class NoDriver:
    """The driver of a fault that needs none."""

    def call(self, name: str, *_: JsonValue) -> JsonValue:
        raise Refused(f"There is no driver to ask for {name}.")

    def close(self) -> None:
        """Nothing is open."""


class Keepers:
    """The deadline contract with keepers that the machine starts, kills and gives their turn."""

    name = "model"

    def __init__(self) -> None:
        self.alive: set[str] = set()

    def arm(self, folder: LeaseFolder, environment: Mapping[str, str]) -> Callable[[], None]:  # noqa: ARG002 (contract)
        self.alive.add(folder.path)
        return lambda: None

    def armed(self, folder: LeaseFolder) -> bool:
        return folder.path in self.alive

    def rearm(self, folder: LeaseFolder, environment: Mapping[str, str]) -> None:
        self.arm(folder, environment)

    def disarm(self, folder: LeaseFolder) -> None:
        """Do nothing: a keeper sees the end by itself."""

    def own_unit(
        self,
        folder: LeaseFolder,  # noqa: ARG002 (contract)
        words: Sequence[str],
        environment: Mapping[str, str],
        lasts_s: float,  # noqa: ARG002 (contract)
    ) -> tuple[Sequence[str], Mapping[str, str]]:
        return words, environment


class LyingFile(FileSet):
    """The same fault, and an undo that can say that it worked and do nothing, as long as `until` does not exist."""

    def undo(self, params: FileParams, prior: JsonMapping, context: Context) -> None:
        if params.breaks == "undo:lie" and not Path(params.until).exists():
            return
        super().undo(params, prior, context)


@dataclass
class Death:
    """Kills the process at one of the calls that change something; a write that is struck is cut in half."""

    left: int = 0

    def __call__(self, _: str = "") -> None:
        self.left -= 1
        if self.left == 0:
            raise Died

    def wrap(self, name: str) -> Callable[..., Any]:
        call: Callable[..., Any] = getattr(os, name)

        def struck(*arguments: Any, **options: Any) -> Any:
            self.left -= 1
            if self.left == 0:
                if name in ("write", "pwrite") and len(arguments[1]) > 1:
                    call(arguments[0], arguments[1][: len(arguments[1]) // 2], *arguments[2:])
                raise Died
            return call(*arguments, **options)

        return struck


@dataclass
class World:
    """One machine with two users' agents on it, and the files they break."""

    folder: Path
    clock: ModelClock = field(default_factory=ModelClock)
    keepers: Keepers = field(default_factory=Keepers)
    boot: Boot = field(default_factory=lambda: Boot("boot-0", 10))
    starts: int = 0
    changes: int = 0  # counts what may have changed a record

    def host(self, user: str, death: Death | None = None) -> Host:
        """Return the agent of one user, as a verb of it sees the machine now."""
        home = Home(str(self.folder / user), limited=True)
        os.makedirs(home.path, exist_ok=True)  # noqa: PTH103 (beside the agent's own)
        fault = LyingFile()
        return Host(
            name="model",
            home=home,
            environment={"PATH": "/bin"},
            clock=self.clock,
            boot=self.boot,
            claims=Claims(str(self.folder), self.clock),
            deadline=self.keepers,
            command=("/bin/false",),
            faults=lambda: {fault.name: fault},
            new_driver=lambda *_: NoDriver(),
            read_policy=lambda: Policy(("test.*",), 600.0),
            halt_files=(home.halt, str(self.folder / "HALT")),
            operator=user,
            step=death or Death(),
        )

    def ask(self, user: str, verb: str, dies_at: int = 0, **request: JsonValue) -> JsonObject:
        """Run a verb; {"died": true} if it was killed, {"error": …} if it was refused."""
        self.changes += 1
        death = Death(dies_at)
        try:
            with self._processes(death if dies_at else None):
                return VERBS[verb][0]({"protocol": 1, **request}, self.host(user, death))
        except AgentError as error:
            return {"error": str(error), "kind": error.kind}
        except Died:
            return {"died": True}

    def look(self, path: str) -> None:
        """Let the keeper of one lease look, and act if it has to."""
        self.changes += 1
        home, lease = path.split("/leases/")
        host = self.host(Path(home).name)
        self.clock.keeper_looks = True
        try:
            with self._processes(None):
                watch(host, host.folder(lease), lambda left_s: left_s)
        except KeeperWaits:
            return
        finally:
            self.clock.keeper_looks = False
        self.keepers.alive.discard(path)

    def pass_time(self, seconds: float) -> None:
        """Let time pass; each keeper looks at each deadline in it, as one that looks ten times a second does."""
        until_s = self.clock.now_s + seconds
        while self.clock.now_s < until_s:
            ends = [end_s for path in self.keepers.alive for end_s in self._ends(path)]
            self.clock.now_s = min([until_s, *(end_s for end_s in ends if end_s > self.clock.now_s)])
            for path in sorted(self.keepers.alive):
                self.look(path)

    def reboot(self, *, keeps_boot_id: bool) -> None:
        """Start the machine anew; a container keeps the boot id, and PID 1 has another start time."""
        self.starts += 1
        boot_id = self.boot.boot_id if keeps_boot_id else f"boot-{self.starts}"
        self.boot = Boot(boot_id, 10 + self.starts)
        self.clock = replace(self.clock, now_s=5.0)
        self.keepers.alive.clear()

    def _ends(self, path: str) -> list[float]:
        home, lease = path.split("/leases/")
        state = LeaseFolder(Home(home, limited=True), lease, self.clock).seen()
        return [] if state is None else [min(state.deadline_s, state.end_s)]

    @contextmanager
    def _processes(self, death: Death | None) -> Iterator[None]:
        """Within it there are no holder processes to be found, and each call that changes something may be the last."""
        with mock.patch("chaosgpu.agent.holding.tagged", return_value=[]):
            if death is None:
                yield
                return
            with ExitStack() as stack:
                for name, struck in [(name, death.wrap(name)) for name in CHANGING_CALLS]:
                    stack.enter_context(mock.patch.object(os, name, struck))
                yield
