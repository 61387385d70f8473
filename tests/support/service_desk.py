# SPDX-License-Identifier: Apache-2.0
"""A host that is two files, to be taken out of service and back: each says up or down."""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from chaosgpu.agent.errors import Refused, Unverified
from chaosgpu.agent.service.answer import Answer
from chaosgpu.agent.service.back import give_back
from chaosgpu.agent.service.desk import Desk, open_desk
from chaosgpu.agent.service.drain import drain
from chaosgpu.agent.service.order import Order, Wanted
from chaosgpu.agent.service.quarantine import quarantine, release
from chaosgpu.agent.service.record import Record, Taken
from chaosgpu.agent.service.thing import Budget, Judged, Thing
from chaosgpu.agent.values import JsonObject
from support.agent_entry import parts_for
from support.agent_host import AgentHost

__all__ = ["KINDS", "FileThing", "ServiceHost"]

KINDS = ("door", "engine")  # users come in by the first


class FileThing(Thing):
    """A file with "up" in it; `breaks` names what shall fail."""

    def __init__(self, kind: str, path: Path, desk: Desk, breaks: str = "") -> None:
        self.kind, self.entry = kind, kind == "door"  # type: ignore[misc]  # one class for both kinds
        self.path, self.desk, self.breaks = path, desk, breaks

    def prior(self) -> JsonObject:
        if self.breaks == "prior":
            raise Refused(f"{self.kind} is not fit.")
        return {"text": self.path.read_text()}

    def shown(self, taken: Taken) -> dict[str, str]:  # noqa: ARG002 (contract)
        return {self.kind: self.path.read_text()}

    def drained(self, taken: Taken) -> dict[str, str]:  # noqa: ARG002 (contract)
        return {self.kind: "down"}

    def take(self, taken: Taken, budget: Budget) -> None:  # noqa: ARG002 (contract)
        self.desk.step(f"before {self.kind} goes down")
        self.path.write_text("down")
        self.desk.step(f"{self.kind} is down")
        if self.breaks == "take":
            raise Unverified(f"{self.kind} does not go down.")

    def judge(self, taken: Taken) -> Judged:
        now = self.path.read_text()
        if now == "theirs":
            return Judged({"up": False}, {self.kind: now}, [f"{self.kind} was changed by somebody; it was left so"])
        return Judged({"up": True}, {self.kind: str(taken.prior["text"])})

    def put_back(self, taken: Taken, budget: Budget) -> list[str]:  # noqa: ARG002 (contract)
        if self.breaks == "put_back":
            raise Unverified(f"{self.kind} does not come back.")
        if taken.plan["up"]:
            self.desk.step(f"before {self.kind} comes up")
            self.path.write_text(str(taken.prior["text"]))
            self.desk.step(f"{self.kind} is up")
        return []


@dataclass
class ServiceHost:
    """The host; `kill_at` ends the process at its n-th step, `breaks` says which kind fails how."""

    agent: AgentHost
    breaks: dict[str, str] = field(default_factory=dict)
    kill_at: int = 0
    steps: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for kind in KINDS:
            self.path(kind).write_text("up")

    def path(self, kind: str) -> Path:
        return self.agent.folder / kind

    def look(self) -> dict[str, str]:
        """Return how both are, read by nobody of ours."""
        return {kind: self.path(kind).read_text() for kind in KINDS}

    def desk(self) -> Desk:
        """Return a desk on this host, as a new process would."""
        return replace(open_desk({}, parts_for(self.agent.home), self.agent.environment), step=self._step)

    def things(self, _: Record, desk: Desk) -> dict[str, Thing]:
        return {kind: FileThing(kind, self.path(kind), desk, self.breaks.get(kind, "")) for kind in KINDS}

    def drain(self, drill: str = "d1", *, check: bool = False, **wanted: Any) -> Answer:
        return self._run(lambda desk: drain(self.order(drill, check=check, **wanted), desk, self.things), check=check)

    def give_back(self, drill: str = "d1", *, check: bool = False) -> Answer:
        return self._run(lambda desk: give_back(self.order(drill, check=check), desk, self.things), check=check)

    def quarantine(self, drill: str = "d1", *, check: bool = False, reason: str = "broken", **wanted: Any) -> Answer:
        order = replace(self.order(drill, check=check, **wanted), reason=reason, differences=("libcuda is 580",))
        return self._run(lambda desk: quarantine(order, desk, self.things), check=check)

    def release(self, *, check: bool = False) -> Answer:
        order = replace(self.order("", check=check), by="ann", reason="mended")
        return self._run(lambda desk: release(order, desk), check=check)

    def killed(self, what: Callable[[], object], at: int) -> bool:
        """Do it in a process of its own that is killed at its n-th step; tell whether there was such a step."""
        pid = os.fork()
        if pid == 0:
            self.kill_at = at
            try:
                what()
            finally:
                os._exit(0)
        _, status = os.waitpid(pid, 0)
        return os.WIFSIGNALED(status)

    def order(self, drill: str, *, check: bool = False, **wanted: Any) -> Order:
        return Order(drill, "a drill", "bob", 20.0, check, Wanted(**wanted))

    def _run(self, what: Callable[[Desk], Answer], *, check: bool) -> Answer:
        desk = self.desk()
        try:
            if check:
                return what(desk)
            with desk.lock():
                return what(desk)
        finally:
            desk.driver.close()

    def _step(self, name: str) -> None:
        self.steps.append(name)
        if len(self.steps) == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
