# SPDX-License-Identifier: Apache-2.0
"""A process that holds memory of one GPU through libcuda until its standard input ends: `holder.py UUID MIB STEP`.

With a STEP over 0 it takes so many MiB more every 50 ms.
"""

import ctypes
import select
import sys

cuda = ctypes.CDLL("libcuda.so.1")
uuid, mib, step = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])


def call(name: str, *arguments: object) -> None:
    code = getattr(cuda, name)(*arguments)
    if code:
        sys.exit(f"{name} answered {code}")


call("cuInit", 0)
device, context, pointer = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_uint64()
for index in range(16):
    call("cuDeviceGet", ctypes.byref(device), index)
    raw = (ctypes.c_ubyte * 16)()
    call("cuDeviceGetUuid_v2", raw, device)
    if bytes(raw).hex() == uuid.removeprefix("GPU-").replace("-", ""):
        break
call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
call("cuCtxSetCurrent", context)
call("cuMemAlloc_v2", ctypes.byref(pointer), ctypes.c_size_t(mib << 20))
sys.stdout.write("holds\n")
sys.stdout.flush()
while not select.select([sys.stdin], [], [], 0.05 if step else None)[0]:
    call("cuMemAlloc_v2", ctypes.byref(pointer), ctypes.c_size_t(step << 20))
