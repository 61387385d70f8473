# SPDX-License-Identifier: Apache-2.0
"""Gets the real Triton server into an environment of its own, once; later calls find it there."""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from chaosgpu.errors import LabFailed

__all__ = ["Interpreter", "TritonInstall", "find_interpreter", "install"]

_REQUIREMENTS = Path(__file__).with_name("requirements-triton.txt")
# The versions for which the wheel has both a stub and a numpy below 2.
_VERSIONS = ("3.12", "3.11")
_INSTALL_S = 300.0
_PROBE_S = 10.0
# Printed by a candidate about itself: what the stub needs is a shared libpython, what we need is venv with pip.
_PROBE = (
    "import ensurepip, json, pathlib, sys, sysconfig, venv;"
    "print(json.dumps(["
    "'%d.%d' % sys.version_info[:2], sys.executable,"
    "str(pathlib.Path(sysconfig.get_config_var('LIBDIR') or '/nowhere').resolve()),"
    "sysconfig.get_config_var('INSTSONAME') or '']))"
)


@dataclass(frozen=True)
class Interpreter:
    """A Python with a shared libpython: its version, itself, the folder of the library."""

    version: str
    executable: Path
    library_directory: Path


@dataclass(frozen=True)
class TritonInstall:
    """Where the server is, and what it needs to run."""

    server: Path
    backends: Path
    binaries: Path
    python_library_directory: Path


def _candidates() -> list[Path]:
    found = [shutil.which(f"python{version}") for version in _VERSIONS]
    paths = [Path(one) for one in found if one]
    for version in _VERSIONS:
        paths += sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python{version}"), reverse=True)
        paths.append(Path(f"/usr/bin/python{version}"))
    return paths


def _probe(candidate: Path) -> Interpreter | None:
    try:
        said = subprocess.run(
            [str(candidate), "-I", "-c", _PROBE], capture_output=True, text=True, timeout=_PROBE_S, check=True
        )
        version, executable, directory, library = json.loads(said.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    if version not in _VERSIONS or ".so" not in library:
        return None
    for folder in (Path(directory), Path(directory) / "x86_64-linux-gnu"):
        if (folder / library).exists():
            return Interpreter(version, Path(executable), folder)
    return None


def find_interpreter() -> Interpreter:
    """Find a Python 3.12 or 3.11 with a shared libpython and venv: on PATH, of pyenv, of the system."""
    probed = [_probe(candidate) for candidate in _candidates() if candidate.exists()]
    usable = [one for one in probed if one is not None]
    for version in _VERSIONS:
        for one in usable:
            if one.version == version:
                return one
    raise LabFailed(
        "The lab's Triton needs a Python 3.12 or 3.11 with its shared library and venv, and none was found on PATH, "
        "in ~/.pyenv/versions or in /usr/bin. On Debian 12: apt-get install python3.11-venv libpython3.11"
    )


def cache_directory() -> Path:
    """Return the folder for what can be made again."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "chaosgpu"


def install(say: Callable[[str], None]) -> TritonInstall:
    """Install the server if it is not there yet; two callers at once make one installation."""
    interpreter = find_interpreter()
    digest = hashlib.sha256(
        _REQUIREMENTS.read_bytes() + f"{interpreter.executable} {interpreter.version}".encode()
    ).hexdigest()[:16]
    home = cache_directory() / f"triton-{digest}"
    home.mkdir(parents=True, exist_ok=True)
    done = home / "installed"
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            say(f"installing Triton with Python {interpreter.version} into {home} (73 MB, once)")
            _install_into(home, interpreter)
            done.touch()
    packages = home / "env" / "lib" / f"python{interpreter.version}" / "site-packages"
    triton = packages / "pytriton" / "tritonserver"
    return TritonInstall(
        server=triton / "bin" / "tritonserver",
        backends=triton / "backends",
        binaries=home / "env" / "bin",
        python_library_directory=interpreter.library_directory,
    )


def _install_into(home: Path, interpreter: Interpreter) -> None:
    environment = home / "env"
    shutil.rmtree(environment, ignore_errors=True)  # what an interrupted installation left
    _run([str(interpreter.executable), "-m", "venv", str(environment)])
    pip = [str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:"]
    _run([*pip, "--require-hashes", "-r", str(_REQUIREMENTS)])
    triton = environment / "lib" / f"python{interpreter.version}" / "site-packages" / "pytriton" / "tritonserver"
    stub = triton / "python_backend_stubs" / interpreter.version / "triton_python_backend_stub"
    shutil.copy2(stub, triton / "backends" / "python" / stub.name)


def _run(command: list[str]) -> None:
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LabFailed(f"Installing the lab's Triton: {' '.join(command)} did not end well: {error}.") from error
    if said.returncode != 0:
        last = "\n".join((said.stderr or said.stdout).strip().splitlines()[-5:])
        raise LabFailed(f"Installing the lab's Triton: {' '.join(command)} ended with {said.returncode}:\n{last}")
