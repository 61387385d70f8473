# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: INP001 (Triton's Python backend finds these files by their folder)
"""GPU memory through the CUDA driver API and ctypes, on whatever `libcuda.so.1` the model's configuration names."""

import ctypes
import os
import uuid

_OUT_OF_MEMORY = 2
# One warp that multiplies and adds, so many times: how long that takes is the GPU's clock's affair.
_SPIN = b""".version 6.4
.target sm_52
.address_size 64
.visible .entry spin(.param .u64 out, .param .u32 iters)
{
    .reg .pred %p<2>;
    .reg .f32 %f<3>;
    .reg .b32 %r<3>;
    .reg .b64 %rd<3>;
    ld.param.u64 %rd1, [out];
    ld.param.u32 %r1, [iters];
    cvta.to.global.u64 %rd2, %rd1;
    mov.u32 %r2, 0;
    mov.f32 %f1, 0f3F800000;
    mov.f32 %f2, 0f3F7FFF00;
LOOP:
    fma.rn.f32 %f1, %f1, %f2, %f2;
    add.u32 %r2, %r2, 1;
    setp.lt.u32 %p1, %r2, %r1;
    @%p1 bra LOOP;
    st.global.f32 [%rd2], %f1;
    ret;
}
\0"""


class CudaError(RuntimeError):
    """A driver call failed for another reason than memory."""


class Gpu:
    """One GPU's primary context in this process; `allocate` and `free` in bytes."""

    def __init__(self, library: str, gpu_uuid: str) -> None:
        if library.startswith("/") and not os.environ.get("CUDA_VISIBLE_DEVICES"):
            # The server itself must not see simulated GPUs (its CUDA runtime wants more), nor a real one beside them;
            # that is said by an empty list. One with something in it is meant for the model, too.
            os.environ.pop("CUDA_VISIBLE_DEVICES", None)
        try:
            self._cuda = ctypes.CDLL(library)
        except OSError as error:
            raise CudaError(f"{library} could not be loaded: {error}. Is an NVIDIA driver installed?") from error
        self._cuda.cuMemAlloc_v2.argtypes = [ctypes.POINTER(ctypes.c_uint64), ctypes.c_size_t]
        self._cuda.cuMemFree_v2.argtypes = [ctypes.c_uint64]
        self._cuda.cuCtxSetCurrent.argtypes = [ctypes.c_void_p]
        self._call("cuInit", 0)
        self._device = self._find(gpu_uuid)
        self._context = ctypes.c_void_p()
        self._kernel = ctypes.c_void_p()  # empty until it is needed
        self._out = ctypes.c_uint64()
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(self._context), self._device)

    def _call(self, name: str, *args: object) -> None:
        code = getattr(self._cuda, name)(*args)
        if code:
            raise CudaError(f"{name} answered CUDA error {code}")

    def _find(self, gpu_uuid: str) -> ctypes.c_int:
        """Find the device by UUID: CUDA's order of devices is not NVML's."""
        wanted = uuid.UUID(gpu_uuid.removeprefix("GPU-")).bytes
        count = ctypes.c_int()
        self._call("cuDeviceGetCount", ctypes.byref(count))
        for ordinal in range(count.value):
            device = ctypes.c_int()
            self._call("cuDeviceGet", ctypes.byref(device), ordinal)
            found = (ctypes.c_ubyte * 16)()
            self._call("cuDeviceGetUuid", ctypes.byref(found), device)
            if bytes(found) == wanted:
                return device
        raise CudaError(f"CUDA sees {count.value} GPUs and none of them is {gpu_uuid}")

    def total(self) -> int:
        """Return the GPU's memory in bytes, as CUDA sees it."""
        self._call("cuCtxSetCurrent", self._context)
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self._call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return total.value

    def allocate(self, size: int) -> "int | None":
        """Allocate `size` bytes: the device address, or None where the GPU has not that much left."""
        self._call("cuCtxSetCurrent", self._context)
        address = ctypes.c_uint64()
        code = self._cuda.cuMemAlloc_v2(ctypes.byref(address), size)
        if code == _OUT_OF_MEMORY:
            return None
        if code:
            raise CudaError(f"cuMemAlloc of {size} bytes answered CUDA error {code}")
        return address.value

    def free(self, address: int) -> None:
        """Give memory back."""
        self._call("cuCtxSetCurrent", self._context)
        self._call("cuMemFree_v2", address)

    def compute(self, iterations: int) -> None:
        """Run the kernel so many times round and wait for it: slower where the clock is lower or others compute."""
        self._call("cuCtxSetCurrent", self._context)
        if not self._kernel:
            module = ctypes.c_void_p()
            self._call("cuModuleLoadData", ctypes.byref(module), _SPIN)
            self._call("cuModuleGetFunction", ctypes.byref(self._kernel), module, b"spin")
            self._call("cuMemAlloc_v2", ctypes.byref(self._out), ctypes.c_size_t(4))
        count = ctypes.c_uint(iterations)
        arguments = (ctypes.c_void_p * 2)(ctypes.addressof(self._out), ctypes.addressof(count))
        self._call("cuLaunchKernel", self._kernel, 1, 1, 1, 32, 1, 1, 0, None, arguments, None)
        self._call("cuCtxSynchronize")

    def close(self) -> None:
        """Leave the GPU."""
        self._call("cuDevicePrimaryCtxRelease_v2", self._device)
