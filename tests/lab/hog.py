# SPDX-License-Identifier: Apache-2.0
"""Fills the GPU until so many percent are free, keeps it there, and holds all until it is killed.

It is full once for a second nothing more was given back: by then the requests that had a cache before have ended.
"""

import ctypes
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "chaosgpu" / "lab" / "models" / "chat" / "1"))

from vram import Gpu  # type: ignore[import-not-found] # found by the line above, in Triton's model

gpu = Gpu("libcuda.so.1", sys.argv[1])
leave = float(sys.argv[2]) / 100
free, total = ctypes.c_size_t(), ctypes.c_size_t()
polls_full = 0
gpu.allocate(1 << 21)  # makes the context current for the calls below, too
while True:
    gpu._call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
    over = free.value - int(total.value * leave)
    if over > 1 << 21:
        gpu.allocate(over)
        polls_full = 0
    else:
        polls_full += 1
        if polls_full == 100:
            sys.stdout.write("full\n")
            sys.stdout.flush()
    time.sleep(0.01)
