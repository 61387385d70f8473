# SPDX-License-Identifier: Apache-2.0
"""A site for tests of drills: people with keys, a plan with one experiment, and a player that plays nothing."""

import hashlib
import io
import json
import subprocess
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from chaosgpu.drill.approval import sign
from chaosgpu.drill.means import Means
from chaosgpu.drill.planfile import Written, read
from chaosgpu.drill.playing import Played, Step
from chaosgpu.drill.record import Record
from chaosgpu.drill.room import PlainRoom
from chaosgpu.drill.site import Site
from chaosgpu.lease.ids import Names
from chaosgpu.lease.ledger import Ledger
from support.chaos import GUARD, UNDO_ALL

MONDAY = datetime(2026, 11, 30, 8, 0, tzinfo=UTC)  # 09:00 in Zurich


def experiment(level: int | None = None, **changes: object) -> dict[str, Any]:
    """Write an experiment with the guard."""
    found: dict[str, Any] = {
        "title": "a leak",
        "description": "of nothing",
        "controls": [GUARD],
        "method": [],
        "rollbacks": [UNDO_ALL],
    }
    if level is not None:
        found["extensions"] = [{"name": "chaosgpu", "level": level}]
    return found | changes


class People:
    """Keys of people, and the file that says whose they are."""

    def __init__(self, folder: Path, names: Sequence[str] = ("alice@lab", "bob@lab", "carol@lab")) -> None:
        self.folder = folder
        self.allowed_signers = folder / "allowed_signers"
        lines = []
        for name in names:
            key = folder / name
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(key)], check=True, timeout=30
            )
            lines.append(f'{name} namespaces="chaosgpu-approval-v1" {self.public(name)}')
        self.allowed_signers.write_text("\n".join(lines) + "\n")

    def public(self, name: str) -> str:
        """Return the public key, type and blob."""
        return " ".join((self.folder / f"{name}.pub").read_text().split()[:2])


@dataclass
class Clock:
    """A clock that stands until it is moved."""

    now: datetime = MONDAY

    def __call__(self) -> datetime:
        return self.now

    def move(self, **span: float) -> None:
        self.now += timedelta(**span)


class Script:
    """A player: ends each step as it is told, with a ledger of its own; may call something while it plays."""

    def __init__(
        self, clock: Clock, verdicts: Sequence[str] = ("passed",), faults: Sequence[str] = ("gpu.memory.leak",)
    ) -> None:
        self.clock, self.verdicts, self.faults = clock, [*verdicts], [*faults]
        self.steps: list[Step] = []
        self.longest_s = 60
        self.during: Callable[[], None] = lambda: None

    def __call__(self, step: Step, why_stop: Callable[[], str | None], say: Callable[[str], None]) -> Played:
        self.steps.append(step)
        verdict = self.verdicts[(len(self.steps) - 1) % len(self.verdicts)]
        directory = Path(step.environment["CHAOSGPU_RUNS"]) / f"run-{len(self.steps)}"
        directory.mkdir(parents=True)
        ledger = Ledger(directory / "ledger.jsonl", directory.name, self.clock)
        ledger.append("run.planned", title="a leak", hosts={"localhost": ["localhost"]})
        ledger.append("run.started")
        for number, fault in enumerate(self.faults):
            common: dict[str, Any] = {"lease": f"lease-{number}", "host": "localhost"}
            ledger.append("lease.reserved", **common, fault=fault, params={}, ttl_s=30, max_duration_s=self.longest_s)
            ledger.append("lease.active", **common, observed={}, expires_in_s=30)
        self.during()
        say("a line of the run")
        self.clock.move(minutes=3)
        stopped = why_stop()
        for number, _ in enumerate(self.faults):
            ledger.append("lease.clean", lease=f"lease-{number}", host="localhost", restored={}, ended_by="undo")
        ended = "inconclusive" if stopped else verdict
        ledger.append("run.finished", verdict=ended, reason="as it was told")
        left = {"localhost": "not restored: gpu.memory.leak is stuck"} if verdict == "unsafe" else {}
        return Played(directory, ended, "as it was told", left, stopped)


@dataclass
class World:
    """A folder with a site, its people, an experiment and a plan."""

    folder: Path
    people: People
    clock: Clock = field(default_factory=Clock)
    changes: dict[str, Any] = field(default_factory=dict)
    operator: str = "alice"
    tokens: int = 0

    def __post_init__(self) -> None:
        self.site = Site(allowed_signers=str(self.people.allowed_signers), folder=self.folder)
        self.record = Record(self.site.path("evidence"), self.clock)
        self.player = Script(self.clock)
        self.said = io.StringIO()
        self.logged: list[str] = []
        self.posted: list[dict[str, Any]] = []

    def document(self, **changes: Any) -> dict[str, Any]:
        """Return a plan; changes are by the key, with dots for what is inside."""
        path = self.folder / "leak.json"
        if not path.exists():
            path.write_text(json.dumps(experiment()))
        found: dict[str, Any] = {
            "drill": "leak",
            "title": "A leak on one host",
            "scope": "embedding",
            "level": 1,
            "operator": "alice@lab",
            "change_id": "CHG-1042",
            "hosts": {"names": ["localhost"]},
            "faults": ["gpu.memory.leak"],
            "longest_fault_s": 120,
            "experiments": [self.planned("leak.json")],
            "window": {
                "time_zone": "Europe/Zurich",
                "first": "2026-11-30",
                "last": "2027-02-28",
                "days": ["mon", "tue", "wed", "thu"],
                "opens": "09:00",
                "closes": "12:00",
            },
            "schedule": {"at": "09:30"},
            "approvals": {"needed": 1, "valid_until": "2027-02-28"},
        }
        for key, value in changes.items():
            inside, *ahead = key.split("__")
            place = found
            for word in ahead:
                place, inside = place[inside], word
            if value is None:
                del place[inside]
            else:
                place[inside] = deepcopy(value)
        return found

    def planned(self, name: str, **more: Any) -> dict[str, Any]:
        """Name an experiment as a plan does."""
        digest = hashlib.sha256((self.folder / name).read_bytes()).hexdigest()
        return {"file": name, "sha256": digest, "deadline_minutes": 10, "undo_minutes": 5, **more}

    def write(self, name: str = "plan.yaml", **changes: Any) -> Path:
        """Write a plan."""
        path = self.folder / name
        path.write_text(yaml.safe_dump(self.document(**changes), sort_keys=False))
        return path

    def plan(self, *by: str, name: str = "plan.yaml", **changes: Any) -> Written:
        """Write a plan that these people approve."""
        written = read(self.write(name, **changes))
        for one in by:
            sign(written, self.people.folder / one, one)
        return written

    def token(self, count: int) -> str:
        """Return digits that are never twice."""
        self.tokens += 1
        return f"{self.tokens:0{2 * count}x}"

    def means(self, **changes: Any) -> Means:
        """Return what a drill needs."""
        found: dict[str, Any] = {
            "site": self.site,
            "record": self.record,
            "player": self.player,
            "look": lambda _: None,
            "room": PlainRoom(self.said),
            "operator": self.operator,
            "names": Names(self.clock, self.token),
            "environment": {"HOOK": "http://127.0.0.1:9/secret-path", "CHAOSGPU_AGENT_HOME": str(self.folder)},
            "send": self.send,
            "syslog": self.logged.append,
        }
        return Means(**(found | changes))

    def send(self, url: str, body: bytes, within_s: float) -> str | None:  # noqa: ARG002 (contract)
        """Take a message."""
        self.posted.append(json.loads(body))
        return None

    @property
    def types(self) -> list[str]:
        """The types of the log's entries."""
        return [str(one["type"]) for one in self.record.read().entries]

    @property
    def last(self) -> dict[str, Any]:
        """The log's last entry."""
        return dict(self.record.read().entries[-1])
