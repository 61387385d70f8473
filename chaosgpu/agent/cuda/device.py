# SPDX-License-Identifier: Apache-2.0
"""One GPU, found by UUID, with our own context on it: allocate, touch, launch."""

import ctypes
import os
from ctypes import byref, c_int, c_size_t, c_uint, c_uint64, c_void_p
from typing import Optional, Tuple

from chaosgpu.agent.cuda.library import OUT_OF_MEMORY, CudaFailed, CudaLibrary, Uuid
from chaosgpu.agent.cuda.ptx import SPIN_ENTRY, SPIN_PTX
from chaosgpu.agent.errors import Refused

__all__ = ["CudaDevice", "Spinner"]

BLOCKING_SYNC = 0x04  # CU_CTX_SCHED_BLOCKING_SYNC: waiting for a kernel must not burn a core of the host
THREADS = 256
BLOCKS = 1024  # several waves on the largest GPU, so every SM has work


class CudaDevice:
    """A GPU with a context of this process on it. The context ends with the process: there is no other clean-up."""

    def __init__(self, uuid: str, simulator: Optional[str]) -> None:
        """Open the GPU of that NVML UUID; `simulator` is what NVML said of itself, and CUDA must say the same."""
        for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"):
            os.environ.pop(name, None)  # what the caller's shell hides must not choose another GPU
        os.environ["CUDA_CACHE_DISABLE"] = "1"  # no compiled kernel is left behind in the home folder
        self.library = CudaLibrary()
        mine = self.library.simulator()
        if mine != simulator:
            raise Refused(
                f"NVML here is {_kind(simulator)} but {_kind(mine)} libcuda would be used: "
                "set LD_LIBRARY_PATH so that both come from the same place. Nothing was changed."
            )
        self.library.call("cuInit", 0)
        self._device = self._find(uuid)
        context = c_void_p()
        self.library.call("cuDevicePrimaryCtxSetFlags_v2", self._device, BLOCKING_SYNC)
        self.library.call("cuDevicePrimaryCtxRetain", byref(context), self._device)
        self.library.call("cuCtxSetCurrent", context)

    def _find(self, uuid: str) -> int:
        count = c_int()
        self.library.call("cuDeviceGetCount", byref(count))
        wanted = uuid[4:].replace("-", "").lower() if uuid.startswith("GPU-") else uuid.lower()
        for ordinal in range(count.value):
            device, raw = c_int(), Uuid()
            self.library.call("cuDeviceGet", byref(device), ordinal)
            self.library.call("cuDeviceGetUuid", byref(raw), device.value)
            if bytes(raw).hex() == wanted:
                return device.value
        raise Refused(f"CUDA sees {count.value} GPUs here and none of them is {uuid}, though NVML has it.")

    def memory(self) -> Tuple[int, int]:
        """Return free and total bytes as CUDA sees them."""
        free, total = c_size_t(), c_size_t()
        self.library.call("cuMemGetInfo_v2", byref(free), byref(total))
        return free.value, total.value

    def allocate(self, size: int) -> bool:
        """Take that many bytes and write to them; False where there is not that much in one piece."""
        pointer = c_uint64()
        code = self.library.code("cuMemAlloc_v2", byref(pointer), size)
        if code == OUT_OF_MEMORY:
            return False
        if code:
            raise CudaFailed(f"cuMemAlloc of {size} bytes failed with CUDA error {code}.", code)
        self.library.call("cuMemsetD8_v2", pointer, 0xA5, size)
        return True


class Spinner:
    """The spin kernel, loaded: each `run` is one launch that is waited for."""

    def __init__(self, device: CudaDevice) -> None:
        self._library = device.library
        module, self._function = c_void_p(), c_void_p()
        self._library.call("cuModuleLoadData", byref(module), SPIN_PTX.encode())
        self._library.call("cuModuleGetFunction", byref(self._function), module, SPIN_ENTRY.encode())
        self._out = c_uint64()
        self._library.call("cuMemAlloc_v2", byref(self._out), 4)

    def run(self, iterations: int) -> None:
        """Launch it on every SM and wait until it is done."""
        count = c_uint(iterations)
        arguments = (c_void_p * 2)(ctypes.addressof(self._out), ctypes.addressof(count))
        self._library.call("cuLaunchKernel", self._function, BLOCKS, 1, 1, THREADS, 1, 1, 0, None, arguments, None)
        self._library.call("cuCtxSynchronize")


def _kind(simulator: Optional[str]) -> str:
    return "the real" if simulator is None else f"the simulated ({simulator})"
