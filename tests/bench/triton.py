# SPDX-License-Identifier: Apache-2.0
"""The lab's real Triton as a unit of each host: its files come from outside read-only, its GPU is the host's own."""

from collections.abc import Callable
from pathlib import Path

from chaosgpu.lab.gpus import LabGpu
from chaosgpu.lab.install import find_interpreter, install
from chaosgpu.lab.repository import write_repository
from chaosgpu.lab.variants import variant
from chaosgpu.sim.instance import Instance

__all__ = ["LIBRARIES", "REPOSITORY", "binds", "unit", "write_model"]

LIBRARIES = "/usr/lib/x86_64-linux-gnu"
REPOSITORY = "/srv/triton/repository"
_UNIT = """\
[Unit]
Description=Triton Inference Server
Wants=simulated-gpus.service
After=network.target simulated-gpus.service

[Service]
StateDirectory=triton
WorkingDirectory=/var/lib/triton
Environment=HOME=/var/lib/triton TMPDIR=/var/lib/triton OPENBLAS_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=1
# The server's CUDA runtime wants more than the simulated driver has; the model loads that by its path.
Environment=CUDA_VISIBLE_DEVICES=
Environment=LD_LIBRARY_PATH={python_library} PATH={binaries}:/usr/bin:/bin
ExecStart={server} --model-repository={repository} --model-control-mode=explicit --load-model=chat \\
  --backend-directory={backends} --backend-config=python,shm-region-prefix-name=triton_ \\
  --http-address=0.0.0.0 --grpc-address=0.0.0.0 --metrics-address=0.0.0.0 \\
  --http-port=8000 --grpc-port=8001 --metrics-port=8002 --exit-timeout-secs=1
Restart=on-failure
TimeoutStopSec=15

[Install]
WantedBy=multi-user.target
"""


def binds(say: Callable[[str], None]) -> tuple[str, ...]:
    """Install Triton if it is not there yet; return the folders of this machine that its unit needs, read-only."""
    home = install(say).binaries.parents[1]
    prefix = find_interpreter().executable.parents[1]
    # The system's own Python is in the hosts too: same Debian, same path.
    return (str(home), *(() if prefix == Path("/usr") else (str(prefix),)))


def unit(say: Callable[[str], None]) -> str:
    """Return triton.service; it is installed and not enabled: `systemctl start triton` when a test wants it."""
    triton = install(say)
    return _UNIT.format(
        server=triton.server,
        backends=triton.backends,
        binaries=triton.binaries,
        python_library=triton.python_library_directory,
        repository=REPOSITORY,
    )


def write_model(root: Path, gpus: Instance) -> None:
    """Write the model repository of one host for its first GPU."""
    seen = gpus.show()[0]["identity"]
    gpu = LabGpu(seen["uuid"], seen["name"], seen["memory_total_mib"] << 20)
    write_repository(root / REPOSITORY.lstrip("/"), variant("hardened"), gpu, f"{LIBRARIES}/libcuda.so.1")
