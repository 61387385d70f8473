# SPDX-License-Identifier: Apache-2.0
"""Plans and approvals by their digest beside the site's log, so that a bundle finds those that the log names."""

import os
from pathlib import Path

from chaosgpu.errors import BadArgument, EvidenceBroken
from chaosgpu.evidence.bundle import Approved
from chaosgpu.evidence.log_rules import Log
from chaosgpu.lease.chain import digest

__all__ = ["approved_for", "fetch", "keep"]

_FOLDER = "kept"


def keep(site: Path, content: bytes) -> str:
    """Keep some bytes in a site's folder, synced, and return the digest by which the log may name them."""
    name = digest(content)
    path = site / _FOLDER / name
    if path.exists():
        return name
    unfinished = path.with_name(f".{name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(file, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        unfinished.rename(path)
    except OSError as error:
        raise EvidenceBroken(f"{path} could not be kept for the evidence log: {error.strerror}.") from error
    return name


def fetch(site: Path, name: str) -> bytes | None:
    """Return what was kept under a digest; None if it is not there or was changed."""
    try:
        content = (site / _FOLDER / name).read_bytes()
    except OSError:
        return None
    return content if digest(content) == name else None


def approved_for(site: Path, log: Log, run_directory: Path, plan: Path | None) -> Approved | None:
    """Find the plan of a run and its approvals: beside the plan's file where one is named, else where they were kept.

    That is the site's folder, by the digests in the log, or the folder of the drill, which has the run in its `runs/`.
    """
    if plan is not None:
        return _read(plan, plan.with_name(f"{plan.name}.approvals"), plan.with_name(f"{plan.name}.approvals"))
    ended = (one for one in log.attempts.values() if one.end is not None and one.end["run"] == run_directory.name)
    attempt = next(ended, None)
    if attempt is None:
        return None
    content = fetch(site, attempt.plan_sha256)
    if content is not None:
        return _kept(site, log, content, attempt.plan_sha256)
    folder = run_directory.parent.parent / "plan"
    if not (folder / "plan.yaml").is_file():
        return None
    found = _read(folder / "plan.yaml", folder, folder / "approvals")
    return found if digest(found.plan) == attempt.plan_sha256 else None


def _kept(site: Path, log: Log, plan: bytes, plan_sha256: str) -> Approved:
    """Take what the site keeps by its digest."""
    entries = [one for one in log.entries if one["type"] == "approved" and one["plan_sha256"] == plan_sha256]
    statements = (fetch(site, str(one["statement_sha256"])) for one in entries if "statement_sha256" in one)
    signatures = (fetch(site, str(one["signature_sha256"])) for one in entries)
    return Approved(plan, next(statements, None), tuple(one for one in signatures if one is not None))


def _read(plan: Path, folder: Path, approvals: Path) -> Approved:
    """Read a plan, the statement in a folder, and the signatures in another."""
    statement = folder / "statement.json"
    try:
        return Approved(
            plan.read_bytes(),
            statement.read_bytes() if statement.is_file() else None,
            tuple(path.read_bytes() for path in sorted(approvals.glob("*.sig"))),
        )
    except OSError as error:
        raise BadArgument(f"The plan {plan} and its approvals could not be read: {error.strerror}.") from error
