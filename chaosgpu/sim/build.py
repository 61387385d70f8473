# SPDX-License-Identifier: Apache-2.0
"""Compiles the simulated libraries with the machine's own compiler, once, into a cache keyed by what went into them."""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import IO

from chaosgpu.errors import BadArgument, LabFailed

__all__ = ["cache_root", "libraries"]

_BUILD_TIMEOUT_S = 120.0
_LOCK = ".lock"
_POLL_S = 0.05
_VERSION = re.compile(r"\d+(\.\d+)+")
_COMMON = ("state.c", "clients.c", "guard.c", "physics.c", "events.c")
_FLAGS = (
    "-std=gnu11",
    "-O2",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-fPIC",
    "-fvisibility=hidden",
)


@dataclass(frozen=True)
class _Target:
    """One file to build: its place, its sources by pattern, and what else the compiler is told."""

    output: str
    patterns: tuple[str, ...]
    flags: tuple[str, ...]


@dataclass(frozen=True)
class _Wanted:
    """How the libraries differ from the usual ones: functions left out, and the driver that they are of."""

    without: tuple[str, ...]
    driver_version: str


def _library(name: str, pattern: str) -> _Target:
    shared = ("-shared", "-Wl,-z,nodelete", f"-Wl,-soname,{name}")
    return _Target(f"lib/{name}", (*_COMMON, pattern), shared)


_TARGETS = (
    _library("libnvidia-ml.so.1", "nvml_*.c"),
    _library("libcuda.so.1", "cuda_*.c"),
    _Target("libexec/simulator.so", (*_COMMON, "admin*.c"), ("-shared", "-Wl,-z,nodelete")),
    _Target("bin/nvidia-smi", ("smi*.c",), ()),
)


def cache_root() -> Path:
    """Where built libraries are kept: `$XDG_CACHE_HOME/chaosgpu/sim`."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "chaosgpu" / "sim"


def libraries(*, without: Sequence[str] = (), driver_version: str = "") -> Path:
    """Give the folder with `lib/libnvidia-ml.so.1`, `lib/libcuda.so.1` and `bin/nvidia-smi`, building it if needed.

    `without` names functions that the libraries shall not have, as those of an older driver: looking one up fails.
    `driver_version` makes them those of that driver: they work where the machine's kernel module is of that version,
    and answer NVML error 18 and CUDA error 803 elsewhere. By default they are the simulated machine's own.
    Raises LabFailed when there is no compiler or it does not succeed.
    """
    if driver_version and not _VERSION.fullmatch(driver_version):
        raise BadArgument(f"A driver's version has digits and dots, such as 575.57.08, and not {driver_version!r}.")
    wanted = _Wanted(tuple(sorted(without)), driver_version)
    compiler = shutil.which("cc")
    if compiler is None:
        raise LabFailed(
            "Simulated GPUs are compiled on first use and there is no C compiler (`cc`) on this machine; "
            "install one, for example with `apt-get install gcc libc6-dev`."
        )
    with resources.as_file(resources.files("chaosgpu.sim") / "src") as sources:
        place = cache_root() / _digest(sources, compiler, wanted)
        if not (place / "bin" / "nvidia-smi").exists():
            _build(sources, compiler, place, wanted)
    return place


def _digest(sources: Path, compiler: str, wanted: _Wanted) -> str:
    # The compiler by its file, not by running it: this is on the way of every start.
    real = Path(compiler).resolve()
    seen = hashlib.sha256(f"{real} {real.stat().st_size} {real.stat().st_mtime_ns} {_FLAGS} {_TARGETS}".encode())
    seen.update(" ".join((*wanted.without, wanted.driver_version)).encode())
    for source in sorted(sources.iterdir()):
        if source.suffix in {".c", ".h"}:
            seen.update(source.name.encode() + b"\0" + source.read_bytes())
    return seen.hexdigest()[:24]


def _build(sources: Path, compiler: str, place: Path, wanted: _Wanted) -> None:
    """Build beside the final place and rename: whoever looks sees all of it or none, however many build at once."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with (
            (place.parent / _LOCK).open("w") as lock,
            tempfile.TemporaryDirectory(prefix="build-", dir=place.parent) as scratch,
        ):
            _wait_for(lock)
            if (place / "bin" / "nvidia-smi").exists():
                return
            made = Path(scratch) / "made"
            _compile(sources, compiler, made, wanted)
            try:
                made.rename(place)
            except OSError:
                if not (place / "bin" / "nvidia-smi").exists():
                    raise
    except OSError as error:
        raise LabFailed(
            f"The simulated GPUs could not be built in {place.parent}: {error}; free some space there or name another "
            "folder with XDG_CACHE_HOME."
        ) from error


def _wait_for(lock: IO[str]) -> None:
    """Wait while another process builds; only to save work, since the rename alone would be right as well."""
    give_up = time.monotonic() + _BUILD_TIMEOUT_S
    while time.monotonic() < give_up:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_POLL_S)
        else:
            return


def _compile(sources: Path, compiler: str, made: Path, wanted: _Wanted) -> None:
    special: list[str] = []
    if wanted.without:
        script = made.parent / "symbols.map"
        script.write_text("{ global: *; local: " + " ".join(f"{name};" for name in wanted.without) + " };\n")
        special.append(f"-Wl,--version-script={script}")
    if wanted.driver_version:
        special.append(f'-DLIBRARY_VERSION="{wanted.driver_version}"')
    for target in _TARGETS:
        output = made / target.output
        output.parent.mkdir(parents=True, exist_ok=True)
        files = [str(path) for pattern in target.patterns for path in sorted(sources.glob(pattern))]
        flags = [*_FLAGS, *target.flags, *(special if target.output.startswith("lib/") else ())]
        command = [compiler, *flags, "-o", str(output), *files, "-lm", "-lpthread", "-ldl"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_BUILD_TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired as error:
            raise LabFailed(f"{compiler} did not build {output.name} within {_BUILD_TIMEOUT_S:.0f} s.") from error
        if done.returncode != 0:
            raise LabFailed(f"{compiler} could not build {output.name}: {done.stderr.strip()[-2000:]}")
