# SPDX-License-Identifier: Apache-2.0
"""A process of its own that uses the GPUs as any program does: it evaluates what a test sends, one line at a time."""

import ctypes
import json
import os
import sys
import traceback

import pynvml as nvml

MIB = 1 << 20
cuda = ctypes.CDLL("libcuda.so.1")
context = ctypes.c_void_p()
pointers: list[int] = []

PTX = b""".version 6.4
.target sm_52
.address_size 64
.visible .entry spin(.param .u64 out, .param .u32 iterations) { ret; }
.visible .entry hang(.param .u64 flag) { ret; }
.visible .entry badstore(.param .u64 at) { ret; }
.visible .entry dotrap() { ret; }
"""


def device(index: int = 0) -> object:
    """Initialise NVML if needed and give the handle of one GPU."""
    try:
        return nvml.nvmlDeviceGetHandleByIndex(index)
    except nvml.NVMLError as error:
        if str(error) != "Uninitialized":
            raise
        nvml.nvmlInit()
        return nvml.nvmlDeviceGetHandleByIndex(index)


def start(index: int = 0) -> int:
    """Make the primary context of one GPU current; the first code that is not 0, or 0."""
    retained = cuda.cuInit(0) or cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), index)
    return int(retained or cuda.cuCtxSetCurrent(context))


def allocate(mib: float) -> int:
    """Take device memory; the code."""
    at = ctypes.c_uint64()
    code = int(cuda.cuMemAlloc_v2(ctypes.byref(at), ctypes.c_size_t(int(mib * MIB))))
    if code == 0:
        pointers.append(at.value)
    return code


def release() -> int:
    """Give back what was taken last; the code."""
    return int(cuda.cuMemFree_v2(ctypes.c_uint64(pointers.pop())))


def free_mib() -> tuple[int, int]:
    """Free and total MiB as CUDA says."""
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    cuda.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total))
    return free.value // MIB, total.value // MIB


def used_mib(index: int = 0) -> int:
    """MiB in use by processes, as NVML says."""
    memory = nvml.nvmlDeviceGetMemoryInfo(device(index), version=nvml.nvmlMemory_v2)
    return int(memory.used) // MIB


def pids(index: int = 0) -> list[int]:
    """Process ids with a context on one GPU."""
    return [process.pid for process in nvml.nvmlDeviceGetComputeRunningProcesses(device(index))]


def load_kernel(name: str) -> ctypes.c_void_p:
    """Load the module and look up one kernel in it."""
    module, function = ctypes.c_void_p(), ctypes.c_void_p()
    codes = (
        cuda.cuModuleLoadData(ctypes.byref(module), PTX),
        cuda.cuModuleGetFunction(ctypes.byref(function), module, name.encode()),
    )
    if any(codes):
        raise RuntimeError(f"codes {codes}")
    return function


def launch(name: str, iterations: int = 0) -> int:
    """Start one kernel over the whole GPU; the code."""
    if not pointers:
        allocate(1)
    out, count = ctypes.c_uint64(pointers[0]), ctypes.c_uint(iterations)
    arguments = (ctypes.c_void_p * 2)(*(ctypes.addressof(value) for value in (out, count)))
    return int(cuda.cuLaunchKernel(load_kernel(name), 264, 1, 1, 256, 1, 1, 0, None, arguments, None))


def arm(types: int = 8) -> None:
    """Listen for events of the first GPU from now on."""
    first = device()
    space["armed"] = nvml.nvmlEventSetCreate()
    nvml.nvmlDeviceRegisterEvents(first, types, space["armed"])


def wait(timeout_ms: int) -> tuple[int, int]:
    """Give type and data of the next event."""
    event = nvml.nvmlEventSetWait(space["armed"], timeout_ms)
    return event.eventType, event.eventData


space: dict[str, object] = {}


def serve() -> None:
    """Answer each line: the value of an expression, or what was raised."""
    space.update(globals())
    for line in sys.stdin:
        try:
            answer = {"value": eval(json.loads(line), space)}  # noqa: S307 (the test's own text)
        except nvml.NVMLError as error:
            answer = {"raised": type(error).__name__}
        except Exception:  # noqa: BLE001 (goes back to the test, which fails with it)
            answer = {"failed": traceback.format_exc()}
        sys.stdout.write(json.dumps(answer, default=str) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    if uid := os.environ.get("PEER_UID"):
        ctypes.CDLL("libnvidia-ml.so.1")  # while it can still be reached
        os.setgroups([])
        os.setgid(int(uid))
        os.setuid(int(uid))
    serve()
