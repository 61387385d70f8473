# SPDX-License-Identifier: Apache-2.0
"""Approvals: SSH signatures over a statement of what is approved, by people other than the operator.

The statement follows from the plan's bytes alone and has their digest, so that a changed plan has no approval any more.
It is made anew for each check, never read from a file: no byte of it is anybody else's to choose.
"""

import datetime as dt
import hashlib
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from chaosgpu.agent.approvals.people import NAME, holders, person, same_person
from chaosgpu.agent.approvals.statement import NAMESPACE, write
from chaosgpu.drill.command import Done, Run, run_command
from chaosgpu.drill.planfile import Written
from chaosgpu.drill.window import openings, zone_of
from chaosgpu.errors import BadArgument, Refused
from chaosgpu.fleet.values import JsonObject, JsonValue
from chaosgpu.lease.ids import stamp

__all__ = [
    "NAMESPACE",
    "Approval",
    "approvals_of",
    "folder_of",
    "for_hosts",
    "sign",
    "statement",
    "why_not_approved",
]

_WITHIN_S = 20.0
_SIGN_WITHIN_S = 120.0  # a person may have to touch a key
_LARGEST = 64 * 1024
# A host reads no more, and can demand no more.
_MOST_FOR_HOSTS = 10
_KEY = re.compile(r"key (SHA256:[A-Za-z0-9+/]{43})")

# Times that ssh-keygen reads are local ones.
_run: Run = partial(run_command, environment={"TZ": "UTC", "LC_ALL": "C"})


@dataclass(frozen=True)
class Approval:
    """One signature that counts."""

    by: str
    key: str
    # The bytes that were checked, whatever their file is by now.
    signature: bytes

    @property
    def signature_sha256(self) -> str:
        """The digest by which the log names it."""
        return hashlib.sha256(self.signature).hexdigest()

    def as_json(self) -> JsonObject:
        """Return it for the log."""
        return {"by": self.by, "key": self.key, "signature_sha256": self.signature_sha256}


def statement(written: Written) -> bytes:
    """Return what is signed: one line of JSON in one form only."""
    plan = written.plan
    last = dt.datetime.combine(plan.approvals.valid_until + dt.timedelta(days=1), dt.time(), zone_of(plan.window))
    first = next(iter(openings(plan.window)), None)
    said: JsonObject = {
        "plan_sha256": written.sha256,
        "drill": plan.drill,
        "title": plan.title,
        "operator": plan.operator,
        "change_id": plan.change_id,
        "hosts": [*plan.hosts.names],
        "blast_radius": plan.hosts.blast_radius,
        "faults": [*plan.faults],
        "longest_fault_s": plan.longest_fault_s,
        "not_before": None if first is None else stamp(first.opens),
        "not_after": stamp(last),
    }
    return write(said)


def for_hosts(written: Written, approvals: Sequence[Approval]) -> JsonObject:
    """Return what a host that demands an approval is given to judge."""
    few = approvals[:_MOST_FOR_HOSTS]
    signatures: list[JsonValue] = [{"by": one.by, "signature": one.signature.decode()} for one in few]
    return {"statement": statement(written).decode(), "signatures": signatures}


def folder_of(plan: Path) -> Path:
    """Return the folder beside a plan that holds its signatures."""
    return plan.with_name(f"{plan.name}.approvals")


def sign(written: Written, key: Path, by: str, run: Run = _run) -> Path:
    """Sign a plan with a key, which may be a public one whose private half an agent holds; return the signature."""
    if not NAME.fullmatch(by):
        raise BadArgument(f"--as must be a name of the allowed signers, such as bob@lab, not {by!r}.")
    if same_person(by, written.plan.operator):
        raise Refused(
            f"{by} is the operator of {written.plan.drill}: somebody else must approve it. Nothing was signed."
        )
    done = run(["ssh-keygen", "-Y", "sign", "-f", str(key), "-n", NAMESPACE], statement(written), _SIGN_WITHIN_S)
    if done.status != 0 or not done.out.startswith(b"-----BEGIN SSH SIGNATURE-----"):
        raise Refused(f"ssh-keygen did not sign with {key}: {done.said}. Nothing was signed.")
    folder = folder_of(written.path)
    try:
        folder.mkdir(exist_ok=True)
        (folder / "statement.json").write_bytes(statement(written))  # for people, and for ssh-keygen by hand
        path = folder / f"{by}.sig"
        path.write_bytes(done.out)
    except OSError as error:
        raise Refused(f"The signature could not be kept in {folder}: {error.strerror}.") from error
    return path


def why_not_approved(
    written: Written, needed: int, allowed_signers: Path | None, operators: Sequence[str], now: dt.datetime
) -> str | None:
    """Return why a plan may not be run for lack of approvals, or None."""
    if needed == 0:
        return None
    if allowed_signers is None:
        return (
            f"{needed} approvals are needed and nobody has said whose signatures count: name allowed_signers in the "
            "site's settings."
        )
    if not allowed_signers.is_file():
        return f"The allowed signers {allowed_signers} cannot be read, so no approval can be checked."
    if now >= _end(written):
        return f"The approvals of {written.plan.drill} count until {written.plan.approvals.valid_until}: plan it anew."
    good, bad = approvals_of(written, allowed_signers, operators, now)
    people = {person(one.by) for one in good}
    count = min(len(people), len({one.key for one in good}))  # neither two names of one key nor two keys of one name
    if count >= needed:
        return None
    why = f" ({'; '.join(bad)})" if bad else ""
    return (
        f"{written.plan.drill} needs {needed} approvals by others than its operator and has {count}{why}. "
        f"Whoever approves it: chaosgpu drill approve {written.path.name} --key KEY --as NAME."
    )


def approvals_of(
    written: Written, allowed_signers: Path, operators: Sequence[str], now: dt.datetime, run: Run = _run
) -> tuple[list[Approval], list[str]]:
    """Return the signatures that count, and for each other one why it does not."""
    judge = _Judge(written, allowed_signers, operators, now, run)
    good: list[Approval] = []
    bad: list[str] = []
    for path in sorted(folder_of(written.path).glob("*.sig")):
        found = judge.judged(path)
        if isinstance(found, Approval):
            good.append(found)
        else:
            bad.append(found)
    return good, bad


@dataclass(frozen=True)
class _Judge:
    """Tells which signatures count."""

    written: Written
    allowed_signers: Path
    operators: Sequence[str]
    now: dt.datetime
    run: Run

    def judged(self, path: Path) -> Approval | str:
        """Return the approval in a file, or why there is none."""
        by = path.stem
        try:
            raw = path.read_bytes()
        except OSError as error:
            return f"{path.name} could not be read: {error.strerror}"
        if not NAME.fullmatch(by) or len(raw) > _LARGEST:
            return f"{path.name} is no signature of a person"
        if any(same_person(by, one) for one in self.operators):
            return f"{by} is the operator, and nobody approves what is his own"
        time = f"-Overify-time={self.now.astimezone(dt.UTC):%Y%m%d%H%M%S}"
        with tempfile.TemporaryDirectory(prefix="chaosgpu-approval-") as folder:
            kept = Path(folder) / "signature"
            kept.write_bytes(raw)  # the one that was read, whatever becomes of the file
            command = ["ssh-keygen", "-Y", "verify", "-f", str(self.allowed_signers), "-s", str(kept), time]
            done = self.run([*command, "-n", NAMESPACE, "-I", by], statement(self.written), _WITHIN_S)
        key = _KEY.search(done.out.decode(errors="replace"))
        if done.status != 0 or key is None:
            return f"the signature of {by} does not hold for this plan: {_shorter(done)}"
        names = holders(self.allowed_signers.read_text(encoding="utf-8", errors="replace"), key[1])
        if not names or any(set("*?!") & {*name} for name in names):
            return f"the key of {by} is not that of a named person in the allowed signers"
        others = [name for name in names for one in self.operators if same_person(name, one)]
        if others:
            return f"the key of {by} is also that of {others[0]}, the operator"
        return Approval(by, key[1], raw)


def _shorter(done: Done) -> str:
    return (done.err.strip() or done.out.decode(errors="replace").strip() or "ssh-keygen said nothing").splitlines()[0]


def _end(written: Written) -> dt.datetime:
    plan = written.plan
    return dt.datetime.combine(plan.approvals.valid_until + dt.timedelta(days=1), dt.time(), zone_of(plan.window))
