# SPDX-License-Identifier: Apache-2.0
"""Make a bundle of a run, write it to a new folder, and read one back."""

import json
import os
import shutil
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chaosgpu import __version__
from chaosgpu.errors import BadArgument, EvidenceBroken
from chaosgpu.evidence.contents import EXPORT, LOG, PLAN, STATEMENT_OF_APPROVAL, read_contents
from chaosgpu.evidence.derive import derive
from chaosgpu.evidence.gather import gather
from chaosgpu.evidence.names import shown
from chaosgpu.evidence.scrub import Scrubber
from chaosgpu.evidence.sums import NAMESPACE, SIGNATURE, SUMS, write_sums
from chaosgpu.lease.chain import digest

if TYPE_CHECKING:
    from chaosgpu.fleet.values import JsonObject

__all__ = ["Approved", "build", "load_bundle", "signed", "write_bundle"]

_LARGEST_BYTES = 1 << 30


@dataclass(frozen=True)
class Approved:
    """A plan, the statement over which its approvals are signed, and these."""

    plan: bytes
    statement: bytes | None = None
    signatures: tuple[bytes, ...] = ()


def build(
    run_directory: Path, log: bytes, secrets: Iterable[str], identity: str | None, approved: Approved | None
) -> dict[str, bytes]:
    """Return the files of an unsigned bundle, `SHA256SUMS` among them; the same run and log give the same bytes.

    Raises EvidenceBroken where a known secret would leave all the same, as from the log, whose lines nobody may change.
    """
    scrubber = Scrubber(secrets)
    found = gather(run_directory, scrubber)
    files = {**found.files, LOG: log, **_plan_files(approved)}
    redacted: JsonObject = {**found.redacted}
    export: JsonObject = {
        "version": 1,
        "tool": __version__,
        "run": run_directory.name,
        "namespace": NAMESPACE,
        "identity": identity,
        "redacted": redacted,
        "withheld_lines": found.withheld_lines,
    }
    files[EXPORT] = (json.dumps(export, indent=2, ensure_ascii=False) + "\n").encode()
    files |= derive(read_contents(files))
    for name, content in files.items():
        if scrubber.finds(name) or scrubber.finds(content.decode(errors="replace")):
            raise EvidenceBroken(
                f"{name} would still hold a known secret, so nothing was exported. Take it out of there."
            )
    return {**files, SUMS: write_sums(files)}


def _plan_files(approved: Approved | None) -> dict[str, bytes]:
    if approved is None:
        return {}
    files = {PLAN: approved.plan}
    if approved.statement is not None:
        files[STATEMENT_OF_APPROVAL] = approved.statement
    return files | {f"plan/approvals/{digest(one)}.sig": one for one in approved.signatures}


def write_bundle(files: Mapping[str, bytes], out: Path) -> None:
    """Write a bundle to a folder that is not there yet: whole, or not at all."""
    if out.exists():
        raise BadArgument(f"{out} is there already; a bundle goes into a new folder.")
    unfinished = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        unfinished.mkdir(mode=0o700, parents=True)
        for name, content in files.items():
            path = unfinished / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        unfinished.rename(out)
    except OSError as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise EvidenceBroken(f"The bundle could not be written to {out}: {error.strerror}.") from error


def load_bundle(folder: Path) -> tuple[dict[str, bytes], list[str]]:
    """Read a bundle; what is in it and is no file of its own is returned as sentences."""
    if not folder.is_dir():
        raise BadArgument(f"{folder} is no folder; a bundle is one.")
    files: dict[str, bytes] = {}
    problems = []
    total = 0
    for path in sorted(folder.rglob("*")):
        mode, name = path.lstat().st_mode, str(path.relative_to(folder))
        if stat.S_ISDIR(mode):
            continue
        if not stat.S_ISREG(mode):
            problems.append(f"{shown(name)} is a link or something else that is no file: it was put in.")
            continue
        total += path.stat().st_size
        if total > _LARGEST_BYTES:
            raise BadArgument(f"{folder} is larger than {_LARGEST_BYTES >> 20} MiB: this is no bundle.")
        try:
            files[name] = path.read_bytes()
        except OSError as error:
            raise EvidenceBroken(f"{shown(name)} in {folder} could not be read: {error.strerror}.") from error
    return files, problems


def signed(files: Mapping[str, bytes], signature: bytes) -> dict[str, bytes]:
    """Return a bundle with its signature."""
    return {**files, SIGNATURE: signature}
