# SPDX-License-Identifier: Apache-2.0
"""GPUs that are drained, taken away and found again."""

from typing import Any

PCI = "nvml.nvmlDeviceGetPciInfo(device({}))"


def test_a_gpu_is_not_drained_while_persistence_holds_it(make: Any, start: Any) -> None:
    peer = start(make())
    assert peer.outcome(f"nvml.nvmlDeviceModifyDrainState({PCI.format(0)}, 1)") == "NVMLError_InUse"


def test_new_processes_do_not_see_a_drained_gpu_and_indexes_shift(make: Any, start: Any) -> None:
    gpus = make(gpus=3)
    old = start(gpus)
    uuids = [gpu["identity"]["uuid"] for gpu in gpus.show()]
    old("nvml.nvmlDeviceSetPersistenceMode(device(1), 0)")
    old(f"nvml.nvmlDeviceModifyDrainState({PCI.format(1)}, 1)")
    new = start(gpus)
    assert old("nvml.nvmlDeviceGetCount()") == 3
    assert new("device() and nvml.nvmlDeviceGetCount()") == 2
    assert new("nvml.nvmlDeviceGetUUID(device(1))") == uuids[2]
    assert new.outcome(f"nvml.nvmlDeviceGetHandleByUUID({uuids[1]!r})") == "NVMLError_NotFound"
    assert (
        start(gpus)(
            "cuda.cuInit(0) or [cuda.cuDeviceGetCount(ctypes.byref(n)) or n.value for n in [ctypes.c_int()]][0]"
        )
        == 2
    )


def test_a_gpu_in_use_is_not_removed_and_comes_back_with_its_defaults(make: Any, start: Any) -> None:
    gpus = make(gpus=2)
    job, admin = start(gpus), start(gpus)
    assert job("start(1)") == 0
    remove = f"nvml.nvmlDeviceRemoveGpu({PCI.format(1)})"
    assert admin.outcome(remove) == "NVMLError_InUse"
    admin("nvml.nvmlDeviceSetPowerManagementLimit(device(1), 300000)")
    admin("nvml.nvmlDeviceSetPersistenceMode(device(1), 0)")
    admin(f"nvml.nvmlDeviceModifyDrainState({PCI.format(1)}, 1)")
    assert admin.outcome(remove) == "NVMLError_InUse"
    job.kill()
    admin(remove)
    assert admin.outcome("nvml.nvmlDeviceGetTemperature(device(1), 0)") == "NVMLError_GpuIsLost"
    assert start(gpus)("device() and nvml.nvmlDeviceGetCount()") == 1
    admin("nvml.nvmlDeviceDiscoverGpus(nvml.nvmlPciInfo_t())")
    assert start(gpus)("device() and nvml.nvmlDeviceGetCount()") == 2
    assert gpus.settings()[1]["power_limit_mw"] == 700000
