# SPDX-License-Identifier: Apache-2.0
"""A host whose NVIDIA driver is packages: its libraries are theirs, and the module that runs is of their version."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import packages
from bench.cuda_units import sh
from bench.hosts import Host
from bench.triton import LIBRARIES
from chaosgpu.sim import build
from support.debs import LATER, NAMES, OLD, build_repository

__all__ = ["GUARDED", "build_drivers", "driven", "let_go"]

# What the site holds and pins.
GUARDED = {name: OLD for name in NAMES if name != "libnvidia-gpucomp"}


def build_drivers(folder: Path) -> None:
    """Build packages of two drivers whose libraries are real ones, each of its own version."""

    def driver(upstream: str) -> Path:
        return build.libraries(driver_version=upstream) / "lib"

    build_repository(folder, driver=driver, versions=(OLD, LATER))


@contextmanager
def driven(host: Host, debs: Path) -> Iterator[None]:
    """Make a host's driver packages, on hold and pinned; put back what the bench gave it."""
    packages.remove(host)
    sh(host, f"rm -f {LIBRARIES}/libcuda.so* {LIBRARIES}/libnvidia-ml.so*")
    packages.set_up(host, debs)
    upstream = OLD.partition("-")[0]
    host.gpus().set_system(kernel_driver_version=upstream)
    line = f"NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {upstream}  Release Build"
    mount = "mountpoint -q /proc/driver || mount -t tmpfs x /proc/driver; mkdir -p /proc/driver/nvidia"
    sh(host, f"ldconfig; {mount}; echo '{line}' > /proc/driver/nvidia/version")
    try:
        yield
    finally:
        host.agent("undo", {"all": True}, timeout_s=packages.APPLY_S)
        packages.remove(host)
        for name in ("libcuda.so.1", "libnvidia-ml.so.1"):
            sh(host, f"rm -f {LIBRARIES}/{name.removesuffix('1')}*")
            target = Path(f"/proc/{host.init()}/root{LIBRARIES}/{name}")
            target.write_bytes((build.libraries() / "lib" / name).read_bytes())
            target.chmod(0o755)
        sh(host, "ldconfig")
        host.gpus().inject("driver_loaded")


def let_go(host: Host) -> None:
    """Take hold and pin away, as on a host where nobody thought of them."""
    sh(host, "apt-mark unhold nvidia-open nvidia-fabricmanager; rm /etc/apt/preferences.d/site")
