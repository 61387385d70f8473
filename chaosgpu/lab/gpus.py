# SPDX-License-Identifier: Apache-2.0
"""The GPUs of a lab: simulated ones of a profile, or the machine's own; asked through the same pynvml either way."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from chaosgpu.errors import LabFailed

__all__ = ["LabGpu", "first_gpu", "simulated"]

_ASK_S = 15.0
# In a child with the lab's environment: this process must not load a library of NVIDIA's name.
_ASK = (
    "import json, pynvml as n; n.nvmlInit(); h = n.nvmlDeviceGetHandleByIndex(0);"
    "s = lambda t: t.decode() if isinstance(t, bytes) else t;"
    "print(json.dumps([s(n.nvmlDeviceGetUUID(h)), s(n.nvmlDeviceGetName(h)), n.nvmlDeviceGetMemoryInfo(h).total]))"
)


@dataclass(frozen=True)
class LabGpu:
    """The GPU that the lab's model uses."""

    uuid: str
    name: str
    memory_bytes: int


def simulated(directory: Path, profile: str, gpus: int) -> dict[str, str]:
    """Create simulated GPUs in the lab's folder and return the environment in which they are found."""
    from chaosgpu.sim.instance import create  # noqa: PLC0415 (production code has no part of the simulator)

    return create(directory, profile, gpus).environment()


def cuda_library(environment: dict[str, str]) -> str:
    """Name the CUDA driver library for the model: the simulator's by its path, the machine's own by its name."""
    name = "libcuda.so.1"
    if not environment:
        return name
    return str(Path(environment["LD_LIBRARY_PATH"].split(":")[0]) / name)


def first_gpu(environment: dict[str, str]) -> LabGpu:
    """Ask the NVIDIA library which GPU comes first."""
    try:
        said = subprocess.run(
            [sys.executable, "-c", _ASK],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=_ASK_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise LabFailed(f"The NVIDIA library gave no GPU within {_ASK_S:g} s; the driver may hang.") from error
    if said.returncode != 0:
        last = said.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise LabFailed(f"The lab found no GPU: {last[0]}. Leave --real-gpu out to use simulated ones.")
    uuid, name, memory_bytes = json.loads(said.stdout)
    return LabGpu(uuid, name, memory_bytes)
