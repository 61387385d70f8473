# SPDX-License-Identifier: Apache-2.0
"""Libraries for the faults that make drift: a driver's of another version, and two of one CUDA library."""

import atexit
import tempfile
from functools import cache
from pathlib import Path

from bench.cuda_units import sh
from bench.hosts import Host
from chaosgpu.sim import build
from crash.unit_victims import OTHER_DRIVER, OTHER_TOOLKIT, TOOLKIT
from support.host_tree import compiled_library

__all__ = ["FAULTS", "libraries", "put"]

FAULTS = ("library.mismatch", "library.shadow")  # their tests are in test_drift_faults.py
_OTHER_VERSION = "575.57.08"


@cache
def libraries() -> tuple[tuple[Path, Path], ...]:
    """Build them here, since the hosts have no compiler: where each is to lie on a host, and where it is here."""
    scratch = tempfile.TemporaryDirectory(prefix="chaosgpu-test-libraries-")
    atexit.register(scratch.cleanup)
    folder = Path(scratch.name)
    driver = build.libraries(driver_version=_OTHER_VERSION) / "lib" / "libcuda.so.1"
    own = compiled_library(folder / "own" / TOOLKIT.name, TOOLKIT.name)
    other = compiled_library(folder / "other" / OTHER_TOOLKIT.name, TOOLKIT.name, "another")
    return ((OTHER_DRIVER, driver), (TOOLKIT, own), (OTHER_TOOLKIT, other))


def put(host: Host) -> None:
    """Put them on a host that is up."""
    for path, source in libraries():
        sh(host, f"mkdir -p {path.parent}")
        target = Path(f"/proc/{host.init()}/root{path}")
        target.write_bytes(source.read_bytes())
        target.chmod(0o755)
