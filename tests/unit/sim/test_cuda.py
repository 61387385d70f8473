# SPDX-License-Identifier: Apache-2.0
"""The CUDA driver: devices, contexts, modules, kernels, copies."""

import time
from typing import Any

import pytest

COUNT = "[cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(n)) or n.value for n in [ctypes.c_int()]][0]"
UUID = "[cuda.cuDeviceGetUuid_v2(u, {}) or bytes(u).hex() for u in [(ctypes.c_ubyte * 16)()]][0]"
BUS = "[cuda.cuDeviceGetPCIBusId(b, 64, {}) or b.value.decode() for b in [ctypes.create_string_buffer(64)]][0]"

BY_BUS = "[cuda.cuDeviceGetByPCIBusId(ctypes.byref(d), {!r}) or d.value for d in [ctypes.c_int(9)]][0]"
TIMED = (
    "[(launch('spin', 5000000), cuda.cuCtxSynchronize(), t() - began)[2]"
    " for t in [__import__('time').monotonic] for began in [t()]][0]"
)


def test_a_device_is_the_same_to_cuda_and_to_nvml(make: Any, start: Any) -> None:
    gpus = make(gpus=2)
    peer = start(gpus)
    assert peer(COUNT) == 2
    for index, gpu in enumerate(gpus.show()):
        assert peer(UUID.format(index)) == gpu["identity"]["uuid"].removeprefix("GPU-").replace("-", "")
        bus = peer(BUS.format(index))
        assert bus == gpu["identity"]["pci_bus_id"].removeprefix("0000")
        assert peer(BY_BUS.format(bus.lower().encode())) == index
    assert peer(BY_BUS.format(b"0000:77:00.0")) == 101


@pytest.mark.parametrize(
    ("visible", "seen"),
    [("1", [1]), ("2,0", [2, 0]), ("-1", []), ("", []), ("0,9,1", [0]), ("GPU-5c0ffee0-{2}", [2])],
)
def test_visible_devices_are_honoured(visible: str, seen: list[int], make: Any, start: Any) -> None:
    gpus = make(gpus=3)
    uuids = [gpu["identity"]["uuid"] for gpu in gpus.show()]
    peer = start(gpus, CUDA_VISIBLE_DEVICES=visible.format(*(uuid.split("-")[2] for uuid in uuids)))
    if not seen:
        assert peer("cuda.cuInit(0)") == 100
        return
    assert peer(COUNT) == len(seen)
    assert peer(UUID.format(0)) == uuids[seen[0]].removeprefix("GPU-").replace("-", "")


def test_an_ordinal_that_is_not_there_is_refused(make: Any, start: Any) -> None:
    assert start(make())("start(1)") == 101


def test_nothing_works_before_cuinit_or_without_a_context(make: Any, start: Any) -> None:
    peer = start(make())
    assert peer("allocate(2)") == 3
    assert peer("cuda.cuInit(0) or allocate(2)") == 201


def test_releasing_the_context_gives_all_its_memory_back(make: Any, start: Any) -> None:
    peer = start(make())
    assert peer("start() or allocate(100) or cuda.cuDevicePrimaryCtxRelease_v2(0)") == 0
    assert peer("used_mib()") == 0
    assert peer("allocate(2)") == 709


def test_each_context_of_a_process_costs(make: Any, start: Any) -> None:
    peer = start(make())
    second = "[cuda.cuCtxCreate_v2(ctypes.byref(c), 0, 0) for c in [ctypes.c_void_p()]][0]"
    assert peer(f"start() or {second}") == 0
    assert peer("used_mib()") == 2 * 518


def test_contexts_are_a_stack(make: Any, start: Any) -> None:
    peer = start(make(gpus=2))
    ask = (
        "[start() or cuda.cuCtxCreate_v2(ctypes.byref(c), 0, 1) or cuda.cuCtxGetDevice(ctypes.byref(d)) or"
        " [d.value, cuda.cuCtxPopCurrent_v2(ctypes.byref(c)), cuda.cuCtxGetDevice(ctypes.byref(d)), d.value]"
        " for c, d in [(ctypes.c_void_p(), ctypes.c_int())]][0]"
    )
    assert peer(ask) == [1, 0, 0, 0]


@pytest.mark.parametrize("image", [b"junk", b"\x7fELF\x02", b"", b".version 6.4 only"])
def test_a_module_that_is_no_ptx_is_refused(image: bytes, make: Any, start: Any) -> None:
    peer = start(make())
    ask = f"[cuda.cuModuleLoadData(ctypes.byref(m), {image!r}) for m in [ctypes.c_void_p()]][0]"
    assert peer(f"start() or {ask}") == 218


def test_a_kernel_that_is_not_in_the_module_is_not_found(make: Any, start: Any) -> None:
    peer = start(make())
    ask = (
        "[cuda.cuModuleLoadData(ctypes.byref(m), PTX) or cuda.cuModuleGetFunction(ctypes.byref(f), m, b'nothing')"
        " for m, f in [(ctypes.c_void_p(), ctypes.c_void_p())]][0]"
    )
    assert peer(f"start() or {ask}") == 500


def test_a_launch_returns_at_once_and_synchronize_waits(make: Any, start: Any) -> None:
    peer = start(make())
    assert peer("start() or launch('spin', 1)") == 0
    began = time.monotonic()
    assert peer("launch('spin', 20000000)") == 0
    assert time.monotonic() - began < 0.1
    assert peer("cuda.cuStreamQuery(None)") == 600
    assert peer("cuda.cuCtxSynchronize()") == 0
    assert 0.1 < time.monotonic() - began < 3
    assert peer("cuda.cuStreamQuery(None)") == 0


def test_two_processes_share_the_time_of_a_gpu(make: Any, start: Any) -> None:
    gpus = make()
    one, other = start(gpus), start(gpus)
    for peer in (one, other):
        assert peer("start() or launch('spin', 1)") == 0
    alone = one(TIMED)
    assert other("launch('hang')") == 0
    assert one(TIMED) == pytest.approx(2 * alone, rel=0.5)


def test_a_store_outside_of_all_memory_faults(make: Any, start: Any) -> None:
    gpus = make()
    peer = start(gpus)
    assert peer("start() or pointers.append(4096) or launch('spin', 5)") == 0
    assert peer("cuda.cuCtxSynchronize()") == 700
    assert gpus.settings()[0]["last_xid"] == 31


def test_what_was_copied_to_the_device_comes_back(make: Any, start: Any) -> None:
    peer = start(make())
    ask = (
        "[allocate(8) or cuda.cuMemcpyHtoD_v2(ctypes.c_uint64(pointers[0] + 16), b'true answer', 11) or"
        " allocate(8) or cuda.cuMemcpyDtoD_v2(ctypes.c_uint64(pointers[1]), ctypes.c_uint64(pointers[0] + 16), 11) or"
        " cuda.cuMemcpyDtoH_v2(b, ctypes.c_uint64(pointers[1]), 11) or b.value.decode()"
        " for b in [ctypes.create_string_buffer(12)]][0]"
    )
    assert peer(f"start() or {ask}") == "true answer"


def test_a_fill_of_gibibytes_takes_no_memory_of_the_host(make: Any, start: Any) -> None:
    peer = start(make())
    fill = "cuda.cuMemsetD8_v2(ctypes.c_uint64(pointers[0]), 7, ctypes.c_size_t(60000 * MIB))"
    assert peer(f"start() or allocate(60000) or {fill}") == 0
    last = (
        "[cuda.cuMemcpyDtoH_v2(b, ctypes.c_uint64(pointers[0] + 60000 * MIB - 1), 1) or b.raw[0]"
        " for b in [ctypes.create_string_buffer(1)]][0]"
    )
    assert peer(last) == 7
    # Not ru_maxrss: that keeps what the process was before exec, a copy of the whole test run.
    peak_kib = "int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
    assert peer(peak_kib) < 200_000


def test_a_copy_over_the_end_is_refused(make: Any, start: Any) -> None:
    peer = start(make())
    ask = "cuda.cuMemcpyHtoD_v2(ctypes.c_uint64(pointers[0] + 2 * MIB - 2), b'abc', 3)"
    assert peer(f"start() or allocate(2) or {ask}") == 1


def test_events_measure_the_time_of_kernels(make: Any, start: Any) -> None:
    peer = start(make())
    ask = (
        "[start() or cuda.cuEventCreate(ctypes.byref(a), 0) or cuda.cuEventCreate(ctypes.byref(b), 0) or"
        " launch('spin', 1) or cuda.cuCtxSynchronize() or cuda.cuEventRecord(a, None) or launch('spin', 2000000) or"
        " cuda.cuEventRecord(b, None) or cuda.cuEventQuery(b) - 600 or cuda.cuEventSynchronize(b) or"
        " cuda.cuEventElapsedTime(ctypes.byref(ms), a, b) or ms.value"
        " for a, b, ms in [(ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_float())]][0]"
    )
    assert 10 < peer(ask) < 200


def test_functions_and_errors_are_found_by_name(make: Any, start: Any) -> None:
    peer = start(make())
    address = (
        "[cuda.cuGetProcAddress_v2({}, ctypes.byref(f), 12000, ctypes.c_uint64(0), ctypes.byref(s)) or f.value"
        " for f, s in [(ctypes.c_void_p(), ctypes.c_int())]][0]"
    )
    expected = peer("ctypes.cast(cuda.cuMemAlloc_v2, ctypes.c_void_p).value")
    assert peer(address.format("b'cuMemAlloc'")) == expected
    assert peer(address.format("b'cuNothing'")) == 500
    name = "[cuda.cuGetErrorName({}, ctypes.byref(n)) or n.value.decode() for n in [ctypes.c_char_p()]][0]"
    assert peer(name.format(2)) == "CUDA_ERROR_OUT_OF_MEMORY"
    assert peer(name.format(12345)) == 1
