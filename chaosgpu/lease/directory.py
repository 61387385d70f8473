# SPDX-License-Identifier: Apache-2.0
"""The run directory: where it is, how files get into it, and whether its run is still alive."""

import contextlib
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path
from uuid import UUID

from chaosgpu.errors import LedgerBroken
from chaosgpu.fleet.redaction import redact
from chaosgpu.fleet.values import JsonValue

__all__ = ["alive", "alive_by_name", "create", "every_run", "home", "keep_alive", "plain", "write_json"]

_PRIVATE = 0o700
_LOCK = "alive.lock"
_LATEST = "latest"
# In the kernel's own namespace, not in a folder: nothing of it can stay behind.
_NAME = "\0chaosgpu-run-"


def home() -> Path:
    """Return the folder of all runs: $CHAOSGPU_RUNS, else .chaosgpu/runs under the current folder."""
    return Path(os.environ.get("CHAOSGPU_RUNS") or ".chaosgpu/runs").absolute()


def create(runs: Path, run: str) -> Path:
    """Make the folder of a run, readable by its owner alone, and let `latest` point to it."""
    directory = runs / run
    try:
        for folder in (runs, directory, directory / "hosts", directory / "series"):
            folder.mkdir(mode=_PRIVATE, parents=folder is runs, exist_ok=folder is runs)
        link = runs / f".{_LATEST}.{run}"
        link.symlink_to(run)
        link.replace(runs / _LATEST)
    except OSError as error:
        raise LedgerBroken(
            f"The run directory {directory} could not be made: {error.strerror}. "
            "Run from a folder that you may write to, or set CHAOSGPU_RUNS."
        ) from error
    return directory


def write_json(path: Path, document: object) -> None:
    """Replace a file by a document without secrets, whole or not at all."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
        content = plain(document)
        text = json.dumps(redact(content) if isinstance(content, dict) else content, indent=2, ensure_ascii=False)
        file = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(file, "w") as stream:
            stream.write(text + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        unfinished.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise LedgerBroken(f"{path} could not be written: {error.strerror}.") from error


def plain(value: object) -> JsonValue:
    """Make JSON of what an activity returned: what JSON lacks is written as Chaos Toolkit does, else by its repr."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, Enum):
        return plain(value.value)
    if value is None or isinstance(value, (str, int, bool)):
        return value
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else repr(value)  # noqa: PLR0124 (NaN)
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    return str(value) if isinstance(value, (Decimal, UUID)) else repr(value)


@contextlib.contextmanager
def keep_alive(directory: Path) -> Iterator[None]:
    """Hold the run's kernel lock and its name in the kernel: they go with the process, however that ends."""
    file = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with _named(directory.name):
            yield
    finally:
        os.close(file)


@contextlib.contextmanager
def _named(run: str) -> Iterator[None]:
    """Bind a socket of the run's name: so it is known to live also where its directory is in another folder."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as name:
        with contextlib.suppress(OSError):  # somebody else's socket of that name: the lock says the same
            name.bind(_NAME + run)
        yield


def alive_by_name(run: str) -> bool:
    """Tell whether the controller of this run still runs on this machine, wherever its directory is."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as name:
        try:
            name.connect(_NAME + run)
        except OSError:
            return False
    return True


def alive(directory: Path) -> bool:
    """Tell whether the controller of this run still runs."""
    try:
        file = os.open(directory / _LOCK, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def every_run(runs: Path) -> list[Path]:
    """List the run directories, the newest first."""
    if not runs.is_dir():
        return []
    return sorted((path for path in runs.iterdir() if path.is_dir() and not path.is_symlink()), reverse=True)
