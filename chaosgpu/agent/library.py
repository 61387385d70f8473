# SPDX-License-Identifier: Apache-2.0
"""Which NVIDIA library is meant: found in this process's own map of memory, and loaded again by its exact path.

Undo may run from systemd, cron or sudo, which drop LD_LIBRARY_PATH: the record of a lease therefore holds the file
and its digest, and an undo that finds another one goes stuck instead of touching the wrong GPU.
"""

import os
from dataclasses import dataclass
from typing import Mapping, Optional

from chaosgpu.agent import values
from chaosgpu.agent.errors import DriverFailed
from chaosgpu.agent.values import JsonMapping, JsonObject

NVML_SONAME = "libnvidia-ml.so.1"
CUDA_SONAME = "libcuda.so.1"
_MAPS = "/proc/self/maps"


@dataclass(frozen=True)
class Library:
    """One shared library file; `simulator` names the instance behind it, None where it is NVIDIA's own."""

    path: str
    sha256: str
    simulator: Optional[str]

    def to_json(self) -> JsonObject:
        """Return it as a lease's record holds it."""
        return {"path": self.path, "sha256": self.sha256, "simulator": self.simulator}

    @classmethod
    def from_json(cls, source: JsonMapping) -> "Library":
        """Read it back from a lease's record."""
        simulator = values.optional_text(source, "simulator")
        return cls(values.text(source, "path"), values.text(source, "sha256"), simulator)


def file_sha256(path: str) -> str:
    """Return the digest of a library file; a sentence where it cannot be read."""
    import hashlib  # noqa: PLC0415 (the agent's quick verbs never need it)

    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:  # noqa: PTH123 (pathlib costs 9 ms at start)
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
    except OSError as error:
        raise DriverFailed(
            f"The library {path} cannot be read ({error.strerror}). "
            "It was probably replaced or removed by a driver update: finish the update, then try again."
        ) from error
    return digest.hexdigest()


def mapped_path(soname: str) -> Optional[str]:
    """Return the file behind a library that this process has loaded, or None."""
    stem = soname[: soname.index(".so") + 3]
    with open(_MAPS, encoding="utf-8", errors="surrogateescape") as file:  # noqa: PTH123 (pathlib costs 9 ms at start)
        paths = {line[line.index("/") :].rstrip("\n") for line in file if "/" in line}
    named = sorted(path for path in paths if os.path.basename(path).startswith(stem))  # noqa: PTH119 (likewise)
    return named[0] if named else None


def loaded(soname: str = NVML_SONAME) -> Optional[Library]:
    """Return the library of that name which this process has loaded, or None."""
    path = mapped_path(soname)
    return None if path is None else Library(path, file_sha256(path), simulator_instance(path))


def simulator_instance(path: str) -> Optional[str]:
    """Ask a loaded library which simulated GPUs it shows; NVIDIA's own has no such function: None."""
    import ctypes  # noqa: PLC0415 (the agent's quick verbs never need it)

    library = ctypes.CDLL(path)
    try:
        ask = library.chaosgpuSimInstance
    except AttributeError:
        return None
    ask.restype = ctypes.c_char_p
    ask.argtypes = []
    answer = ask()
    return answer.decode() if isinstance(answer, bytes) and answer else None


def preload(recorded: Library) -> None:
    """Load exactly the recorded file, so that the later request for its soname finds it; refuse another file."""
    found = file_sha256(recorded.path)
    if found != recorded.sha256:
        raise DriverFailed(
            f"The library {recorded.path} is not the one that this lease was made with "
            f"(its SHA-256 is {found[:12]}…, recorded was {recorded.sha256[:12]}…): the driver was changed meanwhile. "
            "Restore the setting by hand, or put the recorded driver back and undo again."
        )
    _load(recorded.path)


def preload_from(environment: Mapping[str, str], soname: str = NVML_SONAME) -> None:
    """Load the first library of that name on LD_LIBRARY_PATH: a running process's linker no longer looks there."""
    for folder in environment.get("LD_LIBRARY_PATH", "").split(":"):
        path = os.path.join(folder, soname)  # noqa: PTH118 (an empty entry must stay recognisable)
        if folder and os.path.isfile(path):  # noqa: PTH113 (likewise)
            _load(path)
            return


def check_is(recorded: Library, found: Optional[Library]) -> None:
    """Refuse to go on where the library in use is not the recorded one, or shows other simulated GPUs."""
    if found is None:
        raise DriverFailed(f"The recorded library {recorded.path} was loaded but is not in use; nothing was touched.")
    if found.sha256 != recorded.sha256:
        raise DriverFailed(
            f"Another NVIDIA library is in use ({found.path}) than this lease was made with ({recorded.path}). "
            "Nothing was touched: undo again where the recorded library is found, or restore the setting by hand."
        )
    if found.simulator != recorded.simulator:
        raise DriverFailed(
            f"The library shows {_gpus(found)}, but this lease was made on {_gpus(recorded)}. "
            "Nothing was touched: undo again with the environment that the lease's record names."
        )


def _load(path: str) -> None:
    import ctypes  # noqa: PLC0415 (the agent's quick verbs never need it)

    try:
        ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        raise DriverFailed(
            f"The library {path} cannot be loaded: {error}. Is it for this machine's processor?"
        ) from error


def _gpus(library: Library) -> str:
    return "real GPUs" if library.simulator is None else f"the simulated GPUs of instance {library.simulator}"
