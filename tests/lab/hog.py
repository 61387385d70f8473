# SPDX-License-Identifier: Apache-2.0
"""Fills the GPU until so many percent are free, keeps it there, and holds all until it is killed."""

import ctypes
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "chaosgpu" / "lab" / "models" / "chat" / "1"))

from vram import Gpu  # type: ignore[import-not-found] # found by the line above, in Triton's model

gpu = Gpu("libcuda.so.1", sys.argv[1])
leave = float(sys.argv[2]) / 100
free, total = ctypes.c_size_t(), ctypes.c_size_t()
told = False
gpu.allocate(1 << 21)  # makes the context current for the calls below, too
while True:
    gpu._call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
    over = free.value - int(total.value * leave)
    if over > 1 << 21:
        gpu.allocate(over)
    elif not told:
        sys.stdout.write("full\n")
        sys.stdout.flush()
        told = True
    time.sleep(0.01)
