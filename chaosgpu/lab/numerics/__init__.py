# SPDX-License-Identifier: Apache-2.0
"""Two versions of a CUDA library whose results differ slightly, for a model that multiplies with the one it finds.

They carry the name and the version numbers of NVIDIA's cuSPARSE of CUDA 11.8 and 12.1, so that whatever looks at loaded
libraries sees what it would see in the field. What is modelled is one thing: the version that a process loads decides
how its factors are rounded (FP32 or TF32). They are compiled on first use, and no package holds a library of this name.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from chaosgpu.errors import BadArgument, LabFailed

__all__ = ["SONAME", "VARIABLE", "VERSIONS", "library"]

SONAME = "libcusparse.so.12"  # what the lab's model asks for
VARIABLE = "LAB_NUMERICS_LIBRARY"  # in the server's environment: the name that the model is to ask for
_SOURCE = Path(__file__).with_name("product.c")
_WITHIN_S = 60.0
_FLAGS = ("-std=gnu11", "-O2", "-ffp-contract=off", "-Wall", "-Werror", "-fPIC", "-fvisibility=hidden", "-shared")


@dataclass(frozen=True)
class _Version:
    """The version of the library in a CUDA release, and how ours of it is built."""

    number: str
    flags: tuple[str, ...]


# The numbers are those of NVIDIA's packages libcusparse-11-8 and libcusparse-12-1.
VERSIONS = {"11.8": _Version("11.7.5.86", ("-DTF32",)), "12.1": _Version("12.1.0.106", ())}


def library(cuda: str) -> Path:
    """Return the library of a CUDA release, building it if needed: a file named as NVIDIA names its own."""
    if cuda not in VERSIONS:
        raise BadArgument(f"There is a library for CUDA {' and '.join(VERSIONS)}, and none for {cuda!r}.")
    compiler = shutil.which("cc")
    if compiler is None:
        raise LabFailed("The lab's libraries are compiled on first use and there is no C compiler (`cc`): install gcc.")
    version = VERSIONS[cuda]
    flags = (*_FLAGS, *version.flags, f"-Wl,-soname,{SONAME}")
    key = hashlib.sha256(f"{compiler} {flags}".encode() + _SOURCE.read_bytes()).hexdigest()[:16]
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    made = home / "chaosgpu" / "lab" / f"numerics-{key}" / f"libcusparse.so.{version.number}"
    if not made.exists():
        try:
            made.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=made.parent) as scratch:
                _compile([compiler, *flags, "-o", f"{scratch}/made", str(_SOURCE)])
                Path(scratch, "made").replace(made)
        except OSError as error:
            raise LabFailed(f"{made} could not be built: {error}.") from error
    return made


def _compile(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_WITHIN_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise LabFailed(f"{command[0]} did not build the lab's library within {_WITHIN_S:g} s.") from error
    if done.returncode != 0:
        raise LabFailed(f"{command[0]} could not build the lab's library: {done.stderr.strip()[-1000:]}")
