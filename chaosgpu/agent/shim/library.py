# SPDX-License-Identifier: Apache-2.0
"""Where the shim's library comes from: this host's own compiler, once, or a file that was built elsewhere.

It lies in the agent's state root under a digest, for everybody to read and for root alone to write.
"""

import hashlib
import os
import signal
import stat
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Dict, Iterator, Optional, Sequence

from chaosgpu.agent.errors import Refused, StoreFailed

__all__ = ["COMPILERS", "Library", "Prebuilt", "digest", "provide"]

COMPILERS = ("/usr/bin/cc", "/usr/local/bin/cc", "/bin/cc")
_NAME = "chaosgpu-cuda-errors.so"
_SOURCES = ("shim.c", "toggle.c", "toggle.h", "calls.h")
# dlsym must end in a jump: optimised, and without what a distribution may add between.
_FLAGS = (
    "-std=gnu11", "-O2", "-foptimize-sibling-calls", "-fno-stack-protector", "-fPIC", "-fvisibility=hidden", "-shared",
    "-Wl,-z,nodelete",
)  # fmt: skip
_WITHIN_S = 60.0
_LARGEST_BYTES = 4 << 20
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_OTHERS_ENTER = stat.S_IXOTH
_FOR_ALL = 0o755  # a service of any user must be able to load it
_FORGOTTEN_S = 600.0


@dataclass(frozen=True)
class Prebuilt:
    """A library that was built elsewhere from our sources, as the experiment names it."""

    path: str
    sha256: str


@dataclass(frozen=True)
class Library:
    """The shim as a file on this host."""

    path: str
    sha256: str


def provide(root: str, prebuilt: Optional[Prebuilt], compilers: Sequence[str] = COMPILERS) -> Library:
    """Return the library below the state root, building or copying it if it is not there; Refused where that fails."""
    _refuse_hidden(f"{root}/shim")
    return _copied(root, prebuilt) if prebuilt is not None else _compiled(root, compilers)


def _compiled(root: str, compilers: Sequence[str]) -> Library:
    compiler = next((path for path in compilers if os.access(path, os.X_OK)), None)
    if compiler is None:
        raise Refused(
            f"There is no C compiler on this host ({', '.join(compilers)}), and the library that makes CUDA calls fail "
            "is built here. Install one (`apt-get install gcc libc6-dev`, `dnf install gcc`), or build it on another "
            'host of the same kind and name it: {"library": {"path": "/…/x.so", "sha256": "…"}}. Nothing was changed.'
        )
    sources = _sources()
    about = os.stat(compiler)  # noqa: PTH116 (pathlib costs 9 ms at start)
    key = hashlib.sha256(f"{compiler} {about.st_size} {about.st_mtime_ns} {_FLAGS}".encode())
    for name in _SOURCES:
        key.update(name.encode() + b"\0" + sources[name])
    folder = f"{root}/shim/{key.hexdigest()[:24]}"
    path = f"{folder}/{_NAME}"
    if not os.path.exists(path):  # noqa: PTH110 (pathlib costs 9 ms at start)
        with _scratch(root) as scratch:
            for name, content in sources.items():
                _write(f"{scratch}/{name}", content)
            _compile(compiler, scratch)
            _keep(f"{scratch}/{_NAME}", folder)
    return Library(path, digest(path))


def _copied(root: str, prebuilt: Prebuilt) -> Library:
    wrong = f"{prebuilt.path} cannot be used as the library that makes CUDA calls fail"
    try:
        with open(prebuilt.path, "rb") as file:  # noqa: PTH123 (pathlib costs 9 ms at start)
            about = os.fstat(file.fileno())
            content = file.read(_LARGEST_BYTES + 1)
    except OSError as error:
        raise Refused(f"{wrong}: {error.strerror}. Nothing was changed.") from error
    if about.st_uid != 0 or about.st_mode & _OTHERS_WRITE or len(content) > _LARGEST_BYTES:
        raise Refused(f"{wrong}: it must belong to root, with nobody else to write it, and have less than 4 MiB.")
    found = hashlib.sha256(content).hexdigest()
    if found != prebuilt.sha256:
        raise Refused(f"{wrong}: its SHA-256 is {found}, and {prebuilt.sha256} was named. Nothing was changed.")
    folder = f"{root}/shim/{found[:24]}"
    path = f"{folder}/{_NAME}"
    if not os.path.exists(path):  # noqa: PTH110 (pathlib costs 9 ms at start)
        with _scratch(root) as scratch:
            _write(f"{scratch}/{_NAME}", content)
            _keep(f"{scratch}/{_NAME}", folder)
    if digest(path) != found:
        raise Refused(f"{path} is not what it was written as: remove its folder, and ask again.")
    return Library(path, found)


def _sources() -> Dict[str, bytes]:
    """Read them out of the zip file or the folder that we run from."""
    import pkgutil  # noqa: PLC0415 (only this fault needs it)

    found = {}
    for name in _SOURCES:
        content = pkgutil.get_data("chaosgpu.agent.shim", name)
        if content is None:
            raise StoreFailed(f"This agent was built without {name}: build it anew with chaosgpu.agent.zipapp.")
        found[name] = content
    return found


@contextmanager
def _scratch(root: str) -> Iterator[str]:
    """Give a folder to build in; what a killed build left some time ago goes too."""
    import shutil  # noqa: PLC0415 (20 ms, and only this fault needs them)
    import tempfile  # noqa: PLC0415 (as above)

    place = f"{root}/shim"
    try:
        _make_folder(place)
        for name in os.listdir(place):  # noqa: PTH208 (pathlib costs 9 ms at start)
            old = f"{place}/{name}"
            if name.startswith("making-") and time.time() - os.stat(old).st_mtime > _FORGOTTEN_S:  # noqa: PTH116 (as above)
                shutil.rmtree(old, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix="making-", dir=place) as scratch:
            yield scratch
    except OSError as error:
        raise StoreFailed(f"The shim's library cannot be made in {place}: {error.strerror}.") from error


def _make_folder(path: str) -> None:
    os.makedirs(path, exist_ok=True)  # noqa: PTH103 (pathlib costs 9 ms at start)
    os.chmod(path, _FOR_ALL)  # noqa: PTH101 (as above)


def _write(path: str, content: bytes) -> None:
    with open(path, "wb") as file:  # noqa: PTH123 (pathlib costs 9 ms at start)
        file.write(content)


def _compile(compiler: str, scratch: str) -> None:
    import subprocess  # noqa: PLC0415 (8 ms, and only this fault needs it)

    files = [f"{scratch}/{name}" for name in _SOURCES if name.endswith(".c")]
    words = [compiler, *_FLAGS, "-o", f"{scratch}/{_NAME}", *files, "-ldl"]
    child = subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=scratch,
        env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "TMPDIR": scratch},
        start_new_session=True,
    )
    try:
        _, said = child.communicate(timeout=_WITHIN_S)
    except subprocess.TimeoutExpired as error:
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
        raise Refused(f"{compiler} did not build the shim within {_WITHIN_S:g} s. Nothing was changed.") from error
    if child.returncode != 0:
        last = said.decode(errors="replace").strip()[-400:]
        raise Refused(f"{compiler} could not build the shim (are the C library's headers installed?): {last}")


def _keep(made: str, folder: str) -> None:
    """Move it to its place as a whole; another process may have been faster."""
    _make_folder(folder)
    os.chmod(made, _FOR_ALL)  # noqa: PTH101 (pathlib costs 9 ms at start)
    os.replace(made, f"{folder}/{_NAME}")  # noqa: PTH105 (as above)


def digest(path: str) -> str:
    """Return the SHA-256 of a file."""
    with open(path, "rb") as file:  # noqa: PTH123 (pathlib costs 9 ms at start)
        return hashlib.sha256(file.read()).hexdigest()


def _refuse_hidden(path: str) -> None:
    """Refuse a place from which a service of another user could not load a library."""
    folder = path
    while folder != "/":
        exists = os.path.exists(folder)  # noqa: PTH110 (pathlib costs 9 ms at start)
        if exists and not os.stat(folder).st_mode & _OTHERS_ENTER:  # noqa: PTH116 (as above)
            raise Refused(f"{folder} may be entered by its owner alone, so no service could load {path}: chmod o+x it.")
        if exists and os.statvfs(folder).f_flag & os.ST_NOEXEC:
            raise Refused(f"{folder} is on a file system that is mounted noexec, so no service could load {path}.")
        folder = os.path.dirname(folder)  # noqa: PTH120 (as above)
