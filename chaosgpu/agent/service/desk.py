# SPDX-License-Identifier: Apache-2.0
"""What the verbs of this room stand on: the folder of their records, the agent's own verbs, and the host's facts."""

import io
import json
import os
import sys
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Callable, Dict, List, Mapping, Optional, Tuple

from chaosgpu.agent import values
from chaosgpu.agent.clock import Clock, SystemClock, rfc3339
from chaosgpu.agent.errors import AgentError, Refused, StoreFailed
from chaosgpu.agent.faults.contract import Context
from chaosgpu.agent.home import Home, find_home
from chaosgpu.agent.host import ClosableDriver
from chaosgpu.agent.lock import Lock
from chaosgpu.agent.main import Parts
from chaosgpu.agent.main import main as agent_main
from chaosgpu.agent.policy import read_policy
from chaosgpu.agent.service.record import IN_SERVICE, Record
from chaosgpu.agent.store import read_document, sync_folder, write_document
from chaosgpu.agent.syslog import operator_of
from chaosgpu.agent.systemd import Systemd
from chaosgpu.agent.values import JsonMapping, JsonObject

__all__ = ["MOTD", "UNITS", "Desk", "open_desk"]

MOTD = "/etc/motd.d/chaosgpu-quarantine"
UNITS = "/etc/systemd/system"
HOOKS = "/etc/chaosgpu/hooks"
_LOCK_WAIT_S = 10.0
_STATE = "state"


def _no_step(_: str) -> None:
    """Do nothing: only tests look at the steps."""


@dataclass(frozen=True)
class Desk:
    """One call's view of the host; `step` is told each step, and does nothing but in tests."""

    home: Home
    parts: Parts
    environment: Mapping[str, str]
    operator: str
    clock: Clock
    driver: ClosableDriver
    units: str = UNITS
    step: Callable[[str], None] = _no_step

    @property
    def folder(self) -> str:
        """Where this room keeps its records."""
        return f"{self.home.path}/service"

    @property
    def motd(self) -> str:
        """What whoever logs in is shown."""
        return f"{self.home.path}/motd" if self.home.limited else MOTD

    @property
    def hooks(self) -> str:
        """Where the host's owner puts the programs that may be hooks."""
        return f"{self.home.path}/hooks" if self.home.limited else HOOKS

    @property
    def host(self) -> str:
        """How this host calls itself."""
        return os.uname().nodename

    @property
    def owner(self) -> int:
        """Who may own what we start: root, and under a home of its own whoever asks."""
        return os.getuid() if self.home.limited else 0

    @property
    def context(self) -> Context:
        """Return what the agent's rules for units stand on, without the policy: that must not stop a return."""
        limit = self.home.path if self.home.limited else None
        return Context(self.driver, self.clock, None, limit, (), lambda: self.systemd)

    @cached_property
    def systemd(self) -> Optional[Systemd]:
        """Return systemd where it is PID 1, looked for once."""
        return self.parts.find_systemd()

    @property
    def guarded(self) -> Context:
        """Return the same with what the host's policy protects."""
        return replace(self.context, protected_units=self._protected_units())

    def lock(self) -> Lock:
        """Make the folder, and return the lock under which records and things change."""
        try:
            if not os.path.isdir(self.folder):  # noqa: PTH112 (pathlib costs 9 ms at start)
                os.makedirs(self.folder, mode=0o700, exist_ok=True)  # noqa: PTH103 (as above)
                sync_folder(self.home.path)
        except OSError as error:
            raise StoreFailed(f"{self.folder} cannot be made: {error.strerror}. Nothing was touched.") from error
        busy = f"Another drain or return is at work on this host since {_LOCK_WAIT_S:g} s; ask again."
        return Lock(f"{self.folder}/lock", self.clock, _LOCK_WAIT_S, busy)

    def record(self) -> Optional[Record]:
        """Return what is taken; None where nothing is, Damaged where it cannot be trusted."""
        found = read_document(self.folder, _STATE)
        return None if found is None else Record.from_json(found)

    def seen(self) -> Tuple[Optional[Record], str, List[str]]:
        """Return the record, a word for how the host stands, and what is wrong with a record that cannot be trusted."""
        try:
            record = self.record()
        except AgentError as error:
            return None, "unknown", [f"{error} Nothing of it is executed: see docs/service.md."]
        return record, IN_SERVICE if record is None else record.state, []

    def save(self, record: Record) -> Record:
        """Write it, durable when this returns."""
        write_document(self.folder, _STATE, record.to_json())
        stages = ", ".join(f"{one.kind} {one.stage}" for one in record.taken)
        self.step(f"recorded {record.state}: {stages}")
        return record

    def forget(self) -> None:
        """Remove the record: nothing is taken any more."""
        try:
            os.unlink(f"{self.folder}/{_STATE}")  # noqa: PTH108 (as above)
            sync_folder(self.folder)
        except FileNotFoundError:
            return
        except OSError as error:
            raise StoreFailed(
                f"{self.folder}/{_STATE} cannot be removed: {error.strerror}. All is back, though the record stays."
            ) from error
        self.step("forgot")

    def ask(self, verb: str, **request: object) -> JsonObject:
        """Ask the agent's own verb, as a controller would; its error is raised."""
        out = io.BytesIO()
        raw = json.dumps({"protocol": 1, "operator": self.operator, **request}).encode()
        agent_main([verb], io.BytesIO(raw), out, self.parts, self.environment)
        answer: JsonObject = json.loads(out.getvalue())
        if "error" in answer:
            error = values.mapping(answer, "error")
            told = AgentError(f"The agent's {verb} failed: {error.get('message')}")
            told.kind = str(error.get("kind"))
            raise told
        return answer

    def halted(self) -> Optional[Dict[str, str]]:
        """Return who halted this host and why; None where nobody did."""
        found = self.ask("list")["halted"]
        return {key: str(text) for key, text in found.items()} if isinstance(found, dict) else None

    def refuse_open_leases(self, why: str) -> None:
        """Refuse while a fault is in force, or one is stuck."""
        found = self.ask("list")["leases"]
        lines = [line for line in found if isinstance(line, dict)] if isinstance(found, list) else []
        if lines:
            shown = ", ".join(f"{line['lease']} ({line['fault']}, {line['state']})" for line in lines[:5])
            raise Refused(f"Leases are open on this host: {shown}. {why} Undo them first; nothing was touched.")

    def now(self) -> str:
        """Return the wall clock, to be shown."""
        return rfc3339(self.clock.wall_s())

    def note(self, entry: JsonMapping) -> None:
        """Keep the history of this room; a full disk must not keep a host from being given back."""
        line = json.dumps({"at": self.now(), "operator": self.operator, **entry}) + "\n"
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        try:
            descriptor = os.open(f"{self.folder}/history.jsonl", flags, 0o600)
            try:
                os.write(descriptor, line.encode())
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError:
            return  # the system log has the verb, too

    def _protected_units(self) -> Tuple[str, ...]:
        """Return what the host's policy protects; a host without a policy protects nothing from its own owner."""
        own = self.home.limited
        path = f"{self.home.path}/policy.json" if own else self.parts.system_policy
        if not os.path.lexists(path):
            return ()
        return read_policy(path, None if own else self.parts.policy_owner).protected_units


def open_desk(request: JsonMapping, parts: Parts, environment: Mapping[str, str]) -> Desk:
    """Return the desk of this host for a request; Refused for whoever is not root, and has no home of his own."""
    home = find_home(environment, os.getuid())
    if os.getuid() != 0 and not home.limited:
        raise Refused(f"Only root may take a host out of service and back, and this is user {os.getuid()}.")
    parts = parts if parts.command else replace(parts, command=_ourselves())
    clock = parts.clock or SystemClock()
    driver = parts.new_driver()
    operator = operator_of(request, environment, os.getuid())
    return Desk(home, parts, environment, operator, clock, driver, step=parts.step)


def _ourselves() -> Tuple[str, ...]:
    """Return how the agent is started again: by the zip file that we come from, if we do."""
    archive: List[str] = [
        str(path) for path in [getattr(sys.modules[__name__].__loader__, "archive", None)] if path is not None
    ]
    return (sys.executable, "-I", "-S", archive[0]) if archive else ()
