# SPDX-License-Identifier: Apache-2.0
"""Read a run directory as it goes into a bundle: every file of it, without secrets."""

import json
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from chaosgpu.errors import BadArgument, EvidenceBroken
from chaosgpu.evidence.ledger_text import withhold
from chaosgpu.evidence.names import plain_name
from chaosgpu.evidence.scrub import Scrubber
from chaosgpu.lease.chain import parse

__all__ = ["LEDGER", "Gathered", "declared_secrets", "gather"]

LEDGER = "run/ledger.jsonl"
# Held by the kernel while the controller lives: it says nothing.
_LEFT_OUT = frozenset({"alive.lock"})
_LARGEST_BYTES = 256 * 1024 * 1024


@dataclass
class Gathered:
    """The files of a run by their names in the bundle, and from which of them something was taken out."""

    files: dict[str, bytes] = field(default_factory=dict)
    redacted: dict[str, int] = field(default_factory=dict)
    withheld_lines: int = 0


def gather(directory: Path, scrubber: Scrubber) -> Gathered:
    """Read every regular file of a run directory; links and files that are no record are left where they are."""
    if not (directory / "ledger.jsonl").is_file():
        raise BadArgument(
            f"{directory} is no run directory: it has no ledger.jsonl. `chaosgpu runs` lists runs with their folders."
        )
    found = Gathered()
    for path in sorted(_regular(directory)):
        name = f"run/{plain_name(scrubber.text(str(path.relative_to(directory))))}"
        if name in found.files:
            name = f"{name}-{len(found.files)}"
        before = scrubber.hits
        found.files[name] = _clean(name, _read(path), scrubber, found)
        if scrubber.hits > before:
            found.redacted[name] = scrubber.hits - before
    return found


def declared_secrets(directory: Path, environment: Mapping[str, str]) -> set[str]:
    """Return the values of what the experiment takes from the environment as a secret, where they are still there."""
    try:
        experiment = json.loads((directory / "experiment.json").read_bytes())
    except (OSError, ValueError):
        return set()
    found: set[str] = set()
    _declared(experiment.get("secrets") if isinstance(experiment, dict) else None, environment, found)
    return found


def _declared(value: object, environment: Mapping[str, str], found: set[str]) -> None:
    if isinstance(value, dict):
        key = value.get("key")
        if value.get("type") == "env" and isinstance(key, str):
            found |= {environment[key]} if environment.get(key) else set()
            return
        for item in value.values():
            _declared(item, environment, found)


def _regular(directory: Path) -> Iterable[Path]:
    """Yield the regular files below a folder, without following a link."""
    for folder, folders, names in os.walk(directory, followlinks=False):
        folders[:] = [name for name in folders if not (Path(folder) / name).is_symlink()]
        for name in names:
            path = Path(folder) / name
            if name not in _LEFT_OUT and not name.startswith(".") and stat.S_ISREG(path.lstat().st_mode):
                yield path


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise EvidenceBroken(f"{path} is larger than {_LARGEST_BYTES >> 20} MiB; move it out of the run directory.")
        return path.read_bytes()
    except OSError as error:
        raise EvidenceBroken(f"{path} could not be read: {error.strerror}.") from error


def _clean(name: str, content: bytes, scrubber: Scrubber, found: Gathered) -> bytes:
    """Return a file without secrets, byte by byte as it was where there was none."""
    if name == LEDGER:
        return _clean_ledger(content, scrubber, found)
    if name.endswith(".jsonl"):
        return b"\n".join(_clean_json(line, scrubber, None) for line in content.split(b"\n"))
    if name.endswith(".json"):
        return _clean_json(content, scrubber, 2)
    return _clean_text(content, scrubber)


def _clean_ledger(content: bytes, scrubber: Scrubber, found: Gathered) -> bytes:
    """Show a line that holds a secret without it, beside the digest by which the chain holds."""
    clean = []
    *lines, tail = content.split(b"\n")
    for line in lines:
        before, entry = scrubber.hits, parse(line)
        if entry is None:
            clean.append(_clean_text(line, scrubber))
            continue
        shown = scrubber.object(entry)
        hit = scrubber.hits > before
        found.withheld_lines += hit
        clean.append(withhold(line, shown) if hit else line)
    return b"\n".join([*clean, _clean_text(tail, scrubber)])


def _clean_json(content: bytes, scrubber: Scrubber, indent: int | None) -> bytes:
    entry, before = parse(content), scrubber.hits
    if entry is None:
        return _clean_text(content, scrubber)
    clean = scrubber.object(entry)
    if scrubber.hits == before:
        return content
    end = "\n" if content.endswith(b"\n") else ""
    return (json.dumps(clean, indent=indent, ensure_ascii=False) + end).encode()


def _clean_text(content: bytes, scrubber: Scrubber) -> bytes:
    """Look at what is no JSON as text; bytes that are no text are looked at one by one."""
    for encoding in ("utf-8", "latin-1"):
        try:
            source = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        return scrubber.text(source).encode(encoding)
    return b""
