# SPDX-License-Identifier: Apache-2.0
"""`libcuda.so.1` with its argument types: without them ctypes would cut pointers and sizes to 32 bits."""

import ctypes
from ctypes import POINTER, c_char_p, c_int, c_size_t, c_ubyte, c_uint, c_uint64, c_void_p
from typing import Any, Dict, Optional, Tuple

from chaosgpu.agent import library
from chaosgpu.agent.errors import DriverFailed

__all__ = ["OUT_OF_MEMORY", "CudaFailed", "CudaLibrary"]

OUT_OF_MEMORY = 2

Uuid = c_ubyte * 16

_SIGNATURES: Dict[str, Tuple[object, ...]] = {
    "cuInit": (c_uint,),
    "cuDeviceGetCount": (POINTER(c_int),),
    "cuDeviceGet": (POINTER(c_int), c_int),
    "cuDeviceGetUuid": (POINTER(Uuid), c_int),
    "cuDevicePrimaryCtxRetain": (POINTER(c_void_p), c_int),
    "cuDevicePrimaryCtxSetFlags_v2": (c_int, c_uint),
    "cuCtxSetCurrent": (c_void_p,),
    "cuCtxSynchronize": (),
    "cuMemGetInfo_v2": (POINTER(c_size_t), POINTER(c_size_t)),
    "cuMemAlloc_v2": (POINTER(c_uint64), c_size_t),
    "cuMemsetD8_v2": (c_uint64, c_ubyte, c_size_t),
    "cuModuleLoadData": (POINTER(c_void_p), c_char_p),
    "cuModuleGetFunction": (POINTER(c_void_p), c_void_p, c_char_p),
    "cuLaunchKernel": (c_void_p, *((c_uint,) * 7), c_void_p, POINTER(c_void_p), POINTER(c_void_p)),
}

_ADVICE = {
    2: "the GPU is out of memory",
    3: "the driver is shutting down",
    46: "the GPU takes no new context: its compute mode forbids it, or another process holds it exclusively",
    100: "CUDA sees no GPU here",
    101: "there is no such GPU",
    222: "the driver is too old for the embedded PTX",
    802: "the system is not ready: on NVSwitch hosts the fabric manager must run",
    803: "the installed libcuda does not fit the loaded driver",
    999: "unknown error: the driver or the GPU is in a bad state",
}


class CudaFailed(DriverFailed):
    """A CUDA call returned an error; `code` is the CUresult."""


class CudaLibrary:
    """The driver library, loaded and typed."""

    def __init__(self) -> None:
        try:
            self._library = ctypes.CDLL(library.CUDA_SONAME)
        except OSError as error:
            raise DriverFailed(
                f"{library.CUDA_SONAME} could not be loaded ({error}): is the NVIDIA driver installed here?"
            ) from error
        self._functions: Dict[str, Any] = {}

    def simulator(self) -> Optional[str]:
        """Return the simulator's instance, or None where the library is the real one."""
        path = library.mapped_path(library.CUDA_SONAME)
        return None if path is None else library.simulator_instance(path)

    def code(self, name: str, *arguments: object) -> int:
        """Call it and return the bare CUresult."""
        function = self._functions.get(name)
        if function is None:
            try:
                function = getattr(self._library, name)
            except AttributeError as error:
                raise DriverFailed(
                    f"{library.CUDA_SONAME} has no {name}: the driver is too old for this fault."
                ) from error
            function.argtypes = list(_SIGNATURES[name])
            function.restype = c_int
            self._functions[name] = function
        return int(function(*arguments))

    def call(self, name: str, *arguments: object) -> None:
        """Call it and raise CudaFailed unless it returned CUDA_SUCCESS."""
        code = self.code(name, *arguments)
        if code:
            meaning = _ADVICE.get(code, "see the CUresult of that number in cuda.h")
            raise CudaFailed(f"{name} failed with CUDA error {code}: {meaning}.", code)
