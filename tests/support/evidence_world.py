# SPDX-License-Identifier: Apache-2.0
"""A site with drills, keys, a log and an auditor: runs are written by the real ledger, at times of our choosing."""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

from chaosgpu.evidence import register
from chaosgpu.evidence.bundle import Approved, build, signed
from chaosgpu.evidence.checkpoint import head_of
from chaosgpu.evidence.kept import approved_for, keep
from chaosgpu.evidence.keygen import sign
from chaosgpu.evidence.log import EvidenceLog, read_raw
from chaosgpu.evidence.log_rules import read_log
from chaosgpu.evidence.sums import NAMESPACE, SUMS
from chaosgpu.evidence.verify import APPROVAL_NAMESPACE
from chaosgpu.fleet.values import JsonObject, JsonValue
from chaosgpu.lease.directory import write_json
from chaosgpu.lease.ledger import Ledger

SIGNER, APPROVER, OPERATOR, STRANGER = "drills@lab", "anna@lab", "bert@lab", "mallory@lab"
START = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)


class Clock:
    """Goes on by a quarter of a second whenever it is read."""

    def __init__(self, at: datetime = START) -> None:
        self.at = at

    def __call__(self) -> datetime:
        self.at += timedelta(milliseconds=250)
        return self.at

    def wait(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


def make_key(path: Path, name: str) -> Path:
    """Make a key and return the private one."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(path)], check=True, timeout=60)
    return path


def public_of(key: Path) -> str:
    """Return type and digits of a public key."""
    return " ".join(key.with_suffix(".pub").read_text().split()[:2])


@dataclass
class World:
    """Everything of a site, and what its auditor holds."""

    folder: Path
    clock: Clock = field(default_factory=Clock)
    runs: dict[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.site = self.folder / "site"
        self.log = EvidenceLog(self.site, self.clock)
        self.keys = {who: self.folder / who.partition("@")[0] for who in (SIGNER, APPROVER, STRANGER)}
        for who, key in self.keys.items():
            if not key.exists():
                make_key(key, who)
        self.allowed = self.folder / "allowed_signers"
        lines = ((SIGNER, NAMESPACE), (APPROVER, APPROVAL_NAMESPACE))
        self.allowed.write_text(
            "".join(f'{who} namespaces="{space}" {public_of(self.keys[who])}\n' for who, space in lines)
        )

    def plan(self, drill: str, operator: str = OPERATOR) -> tuple[bytes, bytes]:
        """Return a plan and the statement over which it is approved."""
        plan = f"drill: {drill}\ntitle: what {drill} breaks\noperator: {operator}\n".encode()
        said = {"drill": drill, "operator": operator, "plan_sha256": sha256(plan).hexdigest(), "version": 1}
        return plan, (json.dumps(said, sort_keys=True, separators=(",", ":")) + "\n").encode()

    def approve(
        self, drill: str, by: str = APPROVER, namespace: str = APPROVAL_NAMESPACE, operator: str = OPERATOR
    ) -> str:
        """Plan a drill, have it approved, and keep both."""
        plan, statement = self.plan(drill, operator)
        plan_sha256 = keep(self.site, plan)
        register.planned(self.log, drill, plan_sha256)
        signature = sign(statement, self.keys.get(by, self.keys[APPROVER]), namespace)
        register.approved(
            self.log, drill, plan_sha256, by, keep(self.site, signature), statement_sha256=keep(self.site, statement)
        )
        return plan_sha256

    def drill(self, drill: str, verdict: str = "passed", *, end: bool = True, **approval: str) -> str:
        """Play a drill from its plan to its end, and return its run."""
        plan_sha256 = self.approve(drill, **approval)
        attempt = f"{drill}-1"
        register.started(self.log, drill, attempt, plan_sha256, operator=OPERATOR)
        run = self.run(drill, verdict)
        if end:
            register.finished(self.log, drill, attempt, self.runs[run])
        return run

    def run(self, title: str, verdict: str = "passed", hosts: tuple[str, ...] = ("gpu1", "gpu2")) -> str:
        """Write the directory of a run as the guard does."""
        name = self.new_run(title)
        write_run(Pen(self.runs[name], self.clock), title, verdict, hosts)
        return name

    def new_run(self, title: str) -> str:
        """Make the directory of a run."""
        name = f"{self.clock():%Y%m%dT%H%M%SZ}-{sha256(title.encode()).hexdigest()[:6]}"
        self.runs[name] = self.folder / "runs" / name
        (self.runs[name] / "series").mkdir(parents=True)
        return name

    def export(self, run: str, key: str | None = SIGNER, approved: Approved | None = None) -> dict[str, bytes]:
        """Make the bundle of a run, signed with somebody's key."""
        lines, torn = read_raw(self.site)
        found = approved or approved_for(self.site, read_log(lines, torn), self.runs[run], None)
        log = b"".join(line + b"\n" for line in lines)
        files = build(self.runs[run], log, (), SIGNER if key else None, found)
        return files if key is None else signed(files, sign(files[SUMS], self.keys[key], NAMESPACE))

    def checkpoint(self) -> bytes:
        """Return where the log stands."""
        return head_of(read_log(*read_raw(self.site))).write()


class Pen:
    """Writes what the guard writes: lines of the ledger, and files."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.folder, self.clock = folder, clock
        self._ledger = Ledger(folder / "ledger.jsonl", folder.name, clock)

    def line(self, entry_type: str, **entry: JsonValue) -> None:
        """Write a line of the ledger."""
        self._ledger.append(entry_type, **entry)

    def file(self, name: str, document: JsonValue) -> None:
        """Write a file."""
        write_json(self.folder / name, document)


def write_run(pen: Pen, title: str, verdict: str, hosts: tuple[str, ...]) -> None:
    """Play a run of one fault on each host, in the order in which the guard writes."""
    experiment: JsonObject = {"title": title, "description": "of a test", "method": [], "rollbacks": []}
    digest = sha256(json.dumps(experiment, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
    pen.line("run.planned", title=title, experiment_sha256=digest, dry=None, hits=[], hosts={"gpu_nodes": [*hosts]})
    pen.file("experiment.json", experiment)
    for host in hosts:
        pen.file(f"hosts/{host}/before.json", _facts(host))
    pen.line("run.started")
    _probe(pen, "the canary is right", "hypothesis", output=True)
    pen.line("hypothesis", when="before", met=True)
    for host in hosts:
        lease = _lease(host)
        pen.line("lease.reserved", **lease, params={"gpu": "GPU-1", "rate_mib_s": 400}, max_duration_s=120.0)
        pen.clock.wait(1)
        pen.line("lease.active", **lease, observed={"used_mib": 4096}, expires_in_s=60.0, fidelity="exact")
    _series(pen.folder, broken=verdict != "passed")
    pen.clock.wait(30)
    _probe(pen, "the canary is right", "hypothesis", output=verdict == "passed")
    pen.line("hypothesis", when="after", met=verdict == "passed")
    for host in hosts:
        pen.line("lease.reverting", **_lease(host), by="rollback")
        pen.clock.wait(0.4)
        stuck = verdict == "unsafe" and host == hosts[0]
        clean: JsonObject = {"restored": {"used_mib": 0}, "ended_by": "undo"}
        said: JsonObject = {"reason": "the holder did not end"} if stuck else clean
        pen.line("lease.stuck" if stuck else "lease.clean", **_lease(host), **said)
        pen.file(f"hosts/{host}/after.json", _facts(host))
    _probe(pen, "undo everything of this run", "rollbacks", output={"leases": len(hosts)}, kind="action")
    reason = f"{verdict} on purpose"
    pen.line("run.finished", verdict=verdict, reason=reason)
    journal: JsonObject = {"verdict": verdict, "reason": reason, "run": pen.folder.name}
    pen.file("journal.json", {"status": "completed", "chaosgpu": journal})


def _facts(host: str) -> JsonObject:
    return {"facts": {"host": host, "driver": {"driver": "570.172.08"}}, "list": {"leases": []}}


def _lease(host: str) -> JsonObject:
    return {"lease": f"lease-{host}", "host": host, "fault": "gpu.memory.leak"}


def _probe(pen: Pen, name: str, phase: str, *, output: JsonValue, kind: str = "probe") -> None:
    said: JsonObject = {"name": name, "kind": kind, "phase": phase, "status": "succeeded", "duration_s": 0.2}
    pen.line("probe", **said, output=output, error=None)


def _series(folder: Path, *, broken: bool) -> None:
    """Write what a watch of a model writes."""
    lines = [
        {"after_s": second, "ready": True, "right": not (broken and second > 12), "latency_s": 0.1 + second / 50}
        for second in range(30)
    ]
    (folder / "series").mkdir(exist_ok=True)
    (folder / "series" / "watch-chat-1.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def lay(bundle: Mapping[str, bytes | Path], folder: Path) -> Path:
    """Write a bundle, or what somebody made of it, to disk; a path stands for a link to it."""
    for name, content in bundle.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Path):
            path.symlink_to(content)
        else:
            path.write_bytes(content)
    return folder
