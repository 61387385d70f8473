# SPDX-License-Identifier: Apache-2.0
"""Settings: who may, in which range, and what is lost without persistence."""

from pathlib import Path
from typing import Any

import pytest

SETTERS = {
    "power limit": "nvml.nvmlDeviceSetPowerManagementLimit(device(), 300000)",
    "clock lock": "nvml.nvmlDeviceSetGpuLockedClocks(device(), 600, 900)",
    "clock reset": "nvml.nvmlDeviceResetGpuLockedClocks(device())",
    "compute mode": "nvml.nvmlDeviceSetComputeMode(device(), 2)",
    "persistence": "nvml.nvmlDeviceSetPersistenceMode(device(), 0)",
    "ECC": "nvml.nvmlDeviceSetEccMode(device(), 0)",
    "MIG": "nvml.nvmlDeviceSetMigMode(device(), 1)",
    "drain": "nvml.nvmlDeviceModifyDrainState(nvml.nvmlDeviceGetPciInfo(device()), 0)",
    "removal": "nvml.nvmlDeviceRemoveGpu(nvml.nvmlDeviceGetPciInfo(device()))",
    "discovery": "nvml.nvmlDeviceDiscoverGpus(nvml.nvmlPciInfo_t())",
    "ECC counters": "nvml.nvmlDeviceClearEccErrorCounts(device(), 0)",
    "NVLink bandwidth": "nvml.nvmlSystemSetNvlinkBwMode(2)",
    "memory limit": "nvml.nvmlDeviceSetMemoryLimits_v1(device(), nvml.c_nvmlSetMemoryLimits_v1_t(b'/a', 0, 1 << 30))",
}


@pytest.mark.parametrize("setting", SETTERS)
def test_only_root_may_change_a_setting(setting: str, make: Any, start: Any) -> None:
    gpus = make(simulated_root=False)
    before = gpus.settings()
    peer = start(gpus)
    peer("nvml.nvmlInit()")
    assert peer.outcome(SETTERS[setting]) == "NVMLError_NoPermission"
    assert gpus.settings() == before


def test_without_a_word_on_root_the_real_user_counts(make: Any, start: Any, open_folder: Path) -> None:
    gpus = make(simulated_root=None, folder=open_folder)
    nobody = start(gpus, PEER_UID="65534") if start(gpus)("os.geteuid()") == 0 else start(gpus)
    assert nobody.outcome(SETTERS["power limit"]) == "NVMLError_NoPermission"


@pytest.mark.parametrize(
    "call",
    [
        "nvml.nvmlDeviceSetPowerManagementLimit(device(), 199999)",
        "nvml.nvmlDeviceSetPowerManagementLimit(device(), 700001)",
        "nvml.nvmlDeviceSetGpuLockedClocks(device(), 900, 600)",
        "nvml.nvmlDeviceSetComputeMode(device(), 4)",
        "nvml.nvmlDeviceSetPersistenceMode(device(), 2)",
        "nvml.nvmlDeviceSetEccMode(device(), 7)",
        "nvml.nvmlDeviceSetMigMode(device(), 3)",
        "nvml.nvmlDeviceGetHandleByIndex(1)",
        "nvml.nvmlDeviceGetTemperature(device(), 5)",
        "nvml.nvmlDeviceGetClockInfo(device(), 9)",
        "nvml.nvmlSystemSetNvlinkBwMode(9)",
    ],
)
def test_a_value_out_of_range_is_an_invalid_argument_and_changes_nothing(call: str, make: Any, start: Any) -> None:
    gpus = make()
    before = gpus.settings()
    peer = start(gpus)
    peer("nvml.nvmlInit()")
    assert peer.outcome(call) == "NVMLError_InvalidArgument"
    assert gpus.settings() == before


def test_a_setting_of_one_process_is_read_by_another(make: Any, start: Any) -> None:
    gpus = make(gpus=2)
    one, other = start(gpus), start(gpus)
    one("nvml.nvmlDeviceSetPowerManagementLimit(device(1), 250000)")
    assert other("nvml.nvmlDeviceGetPowerManagementLimit(device(1))") == 250000
    assert other("nvml.nvmlDeviceGetPowerManagementLimit(device(0))") == 700000
    assert gpus.settings()[1]["power_limit_mw"] == 250000


def test_a_clock_lock_is_clamped_to_what_the_part_can_do(make: Any, start: Any) -> None:
    gpus = make()
    start(gpus)("nvml.nvmlDeviceSetGpuLockedClocks(device(), 0, 9000)")
    assert [gpus.settings()[0][f"sm_lock_{end}_mhz"] for end in ("min", "max")] == [210, 1980]


def _set_all(peer: Any) -> None:
    peer("nvml.nvmlDeviceSetPowerManagementLimit(device(), 300000)")
    peer("nvml.nvmlDeviceSetGpuLockedClocks(device(), 600, 900)")
    peer("nvml.nvmlDeviceSetComputeMode(device(), 3)")


def _settings(gpus: Any) -> list[int]:
    names = ("power_limit_mw", "sm_lock_max_mhz", "compute_mode")
    return [gpus.settings()[0][name] for name in names]


def test_with_persistence_settings_stay_when_the_last_client_leaves(make: Any, start: Any) -> None:
    gpus = make()
    peer = start(gpus)
    _set_all(peer)
    peer.kill()
    assert _settings(gpus) == [300000, 900, 3]


def test_without_persistence_settings_go_with_the_last_client(make: Any, start: Any) -> None:
    gpus = make()
    peer, other = start(gpus), start(gpus)
    other("device() and 0")
    peer("nvml.nvmlDeviceSetPersistenceMode(device(), 0)")
    _set_all(peer)
    peer.kill()
    assert _settings(gpus) == [300000, 900, 3]  # one is still there
    other("nvml.nvmlShutdown()")
    assert _settings(gpus) == [700000, 0, 0]
    assert gpus.settings()[0]["persistence_mode"] == 0


def test_without_persistence_a_cuda_process_keeps_the_settings(make: Any, start: Any) -> None:
    gpus = make()
    job, peer = start(gpus), start(gpus)
    assert job("start()") == 0
    peer("nvml.nvmlDeviceSetPersistenceMode(device(), 0)")
    peer("nvml.nvmlDeviceSetPowerManagementLimit(device(), 300000)")
    peer("nvml.nvmlShutdown()")
    assert _settings(gpus)[0] == 300000
    job.kill()
    assert _settings(gpus)[0] == 700000


def test_prohibited_mode_refuses_new_contexts_and_leaves_those_there_are(make: Any, start: Any) -> None:
    gpus = make()
    old, new = start(gpus), start(gpus)
    assert old("start()") == 0
    gpus.set(0, compute_mode=2)
    assert new("start()") == 46
    assert old("allocate(2)") == 0
    gpus.set(0, compute_mode=0)
    assert new("start()") == 0


def test_exclusive_mode_gives_the_gpu_to_one_process(make: Any, start: Any) -> None:
    gpus = make()
    one, other = start(gpus), start(gpus)
    gpus.set(0, compute_mode=3)
    assert one("start()") == 0
    assert other("start()") == 46
    one.kill()
    assert other("start()") == 0


def test_ecc_counts_after_a_reset(make: Any, start: Any) -> None:
    gpus = make()
    peer = start(gpus)
    peer("nvml.nvmlDeviceSetEccMode(device(), 0)")
    assert peer("nvml.nvmlDeviceGetEccMode(device())") == [1, 0]
    gpus.inject("reset", 0)
    assert peer("nvml.nvmlDeviceGetEccMode(device())") == [0, 0]
    assert peer.outcome("nvml.nvmlDeviceGetTotalEccErrors(device(), 1, 0)") == "NVMLError_NotSupported"


def test_mig_waits_for_the_gpu_to_be_idle(make: Any, start: Any) -> None:
    gpus = make()
    job, peer = start(gpus), start(gpus)
    assert job("start()") == 0
    assert peer("nvml.nvmlDeviceSetMigMode(device(), 1)") == 19
    assert peer("nvml.nvmlDeviceGetMigMode(device())") == [0, 1]


def test_settings_before_and_after_a_change_that_was_put_back_are_equal(make: Any, start: Any) -> None:
    gpus = make(gpus=2)
    before = gpus.settings()
    peer = start(gpus)
    _set_all(peer)
    assert gpus.settings() != before
    peer("nvml.nvmlDeviceSetPowerManagementLimit(device(), 700000)")
    peer("nvml.nvmlDeviceResetGpuLockedClocks(device())")
    peer("nvml.nvmlDeviceSetComputeMode(device(), 0)")
    assert gpus.settings() == before
