# SPDX-License-Identifier: Apache-2.0
"""A service to break: it has a context and memory on the first simulated GPU, and a worker that it started.

victim.py serve FOLDER: be the service. victim.py start FOLDER: start it in its own session, wait, return.
"""

import subprocess
import sys
import time
from ctypes import byref, c_int, c_uint64, c_void_p
from pathlib import Path

from chaosgpu.agent.cuda.library import CudaLibrary

MIB = 1 << 20


def serve(folder: Path) -> None:
    """Allocate, start a worker, say so, and stay; end when the folder is taken away."""
    cuda = CudaLibrary()
    context, pointer = c_void_p(), c_uint64()
    cuda.call("cuInit", 0)
    device = c_int()
    cuda.call("cuDeviceGet", byref(device), 0)
    cuda.call("cuDevicePrimaryCtxRetain", byref(context), device.value)
    cuda.call("cuCtxSetCurrent", context)
    cuda.call("cuMemAlloc_v2", byref(pointer), 64 * MIB)
    worker = subprocess.Popen([sys.executable, __file__, "work", str(folder)])
    (folder / "worker").write_text(str(worker.pid))
    (folder / "ready").touch()
    work(folder)


def work(folder: Path) -> None:
    """Count, so that a test sees whether it runs."""
    count = 0
    while folder.exists():
        count += 1
        if (folder / "ready").exists():
            unfinished = folder / f"{sys.argv[1]}.new"
            unfinished.write_text(str(count))
            unfinished.replace(folder / f"count-{sys.argv[1]}")
        time.sleep(0.02)


def start(folder: Path) -> None:
    """Start the service and return when it is ready."""
    (folder / "ready").unlink(missing_ok=True)
    subprocess.Popen([sys.executable, __file__, "serve", str(folder)], start_new_session=True, cwd="/")
    for _ in range(500):
        if (folder / "ready").exists():
            return
        time.sleep(0.02)
    sys.exit("the victim is not ready within 10 s")


if __name__ == "__main__":
    {"serve": serve, "work": work, "start": start}[sys.argv[1]](Path(sys.argv[2]))
