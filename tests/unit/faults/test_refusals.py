# SPDX-License-Identifier: Apache-2.0
"""What the GPU, its product or somebody else's setting makes impossible is refused, and nothing is changed."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from chaosgpu.agent.values import JsonObject
from unit.faults.rig import Rig

Prepare = Callable[[Rig], None]
NOT_SUPPORTED, NO_PERMISSION = 3, 4


def _returns(function: str, code: int = NOT_SUPPORTED) -> Prepare:
    return lambda rig: rig.gpus.inject("return", 0, function=function, code=code)


def _sets(**fields: int) -> Prepare:
    return lambda rig: rig.gpus.set(0, **fields)


def _busy_and_slow(rig: Rig) -> None:
    rig.gpus.set(0, utilization_percent=100, sm_lock_min_mhz=800, sm_lock_max_mhz=800)


def _no_way(_: Rig) -> None:
    """Nothing to prepare."""


FILL: JsonObject = {"used_percent": 50}
POWER = "gpu.power.cap"
REFUSED: list[tuple[str, JsonObject, Prepare, str, str]] = [
    ("gpu.memory.fill", FILL, _sets(foreign_used_mib=60000), "no_effect", "full to that level"),
    ("gpu.memory.fill", {"leave_free_mib": 90000}, _no_way, "bad_request", "is not less than"),
    ("gpu.memory.fill", FILL, _sets(compute_mode=2), "refused", "compute mode prohibited"),
    ("gpu.memory.fill", FILL, _sets(mig_mode=1), "refused", "split by MIG"),
    ("gpu.memory.fill", FILL, _sets(recovery_action=1), "refused", "recovery action 1"),
    ("gpu.memory.fill", FILL, _sets(remap_failure=1), "refused", "row remap failed"),
    ("gpu.memory.leak", {"rate_mib_s": 1}, _sets(foreign_used_mib=80500), "no_effect", "nothing to leak"),
    ("gpu.memory.leak", {"rate_mib_s": 1}, _sets(compute_mode=2), "refused", "compute mode prohibited"),
    ("gpu.burn", {}, _returns("nvmlDeviceGetComputeMode"), "refused", "does not support"),
    ("gpu.burn", {}, _sets(compute_mode=2), "refused", "compute mode prohibited"),
    (POWER, {"watts": 300}, _returns("nvmlDeviceGetPowerManagementLimit"), "refused", "not support a power limit"),
    (POWER, {"watts": 300}, _returns("nvmlDeviceSetPowerManagementLimit"), "refused", "Nothing was changed"),
    (POWER, {"watts": 300}, _returns("nvmlDeviceSetPowerManagementLimit", NO_PERMISSION), "refused", "Only root may"),
    (POWER, {"watts": 199}, _no_way, "bad_request", "watts must be between 200 and 700"),
    (POWER, {"watts": 701}, _no_way, "bad_request", "watts must be between 200 and 700"),
    (POWER, {"watts": 700}, _no_way, "no_effect", "is 700 W already"),
    ("gpu.compute_mode.set", {"mode": "prohibited"}, _sets(compute_mode=2), "no_effect", "is prohibited already"),
    ("gpu.compute_mode.set", {"mode": "prohibited"}, _sets(mig_mode=1), "refused", "split by MIG"),
    ("gpu.persistence.off", {}, _sets(persistence_mode=0), "no_effect", "is off already"),
    ("gpu.persistence.off", {}, _returns("nvmlDeviceGetPersistenceMode"), "refused", "not support persistence mode"),
    ("gpu.persistence.off", {}, _sets(sm_lock_min_mhz=800, sm_lock_max_mhz=800), "refused", "Declare it as prior_lock"),
    ("gpu.clock.lock", {"mhz": 600}, _returns("nvmlDeviceSetGpuLockedClocks"), "refused", "not support locked clocks"),
    ("gpu.clock.lock", {"mhz": 600}, _sets(architecture=4), "refused", "older than Volta"),
    ("gpu.clock.lock", {"mhz": 600}, _busy_and_slow, "refused", "Declare it as prior_lock"),
    ("gpu.clock.lock", {"min_mhz": 300, "max_mhz": 1980}, _no_way, "no_effect", "shuts nothing out"),
    ("gpu.process.stop", {"pid": 999999}, _no_way, "refused", "is not on GPU"),
    ("gpu.process.stop", {"user": "root"}, _no_way, "refused", "has no process on GPU"),
]


@pytest.mark.parametrize(
    ("fault", "params", "prepare", "kind", "sentence"), REFUSED, ids=[f"{row[0]}-{row[4]}" for row in REFUSED]
)
def test_it_is_refused_and_nothing_is_changed(  # noqa: PLR0917 (one row of the table)
    fault: str, params: JsonObject, prepare: Prepare, kind: str, sentence: str, rig: Rig
) -> None:
    prepare(rig)
    before = rig.settings()
    answer = rig.apply(fault, {"gpu": rig.uuid, **params})
    assert answer["error"]["kind"] == kind, answer
    assert sentence in answer["error"]["message"]
    assert "Its undo is" not in answer["error"]["message"]
    assert rig.settings() == before
    assert rig.ours_in_the_end() == []


@pytest.mark.parametrize(
    ("gpu", "sentence"),
    [
        ("GPU-00000000-0000-0000-0000-000000000000", "There is no GPU"),
        ("0000:FF:00.0", "There is no GPU at PCI bus id"),
        ("MIG-00000000-0000-0000-0000-000000000000", "MIG instance"),
        ("the first one", "neither a GPU's UUID"),
    ],
)
def test_no_such_gpu_is_one_sentence(gpu: str, sentence: str, rig: Rig) -> None:
    answer = rig.apply("gpu.memory.fill", {"gpu": gpu, "used_percent": 50})
    assert answer["error"]["kind"] == "bad_request"
    assert sentence in answer["error"]["message"]


def test_a_squatter_is_refused_where_somebody_has_the_gpu(rig: Rig) -> None:
    rig.victim()
    params: JsonObject = {"gpu": rig.uuid, "mode": "exclusive_process", "squatter": True}
    answer = rig.apply("gpu.compute_mode.set", params)
    assert "a squatter can shut nobody out" in answer["error"]["message"]


def test_a_holder_is_refused_where_another_process_has_the_gpu_exclusively(rig: Rig) -> None:
    rig.victim()
    rig.gpus.set(0, compute_mode=3)
    answer = rig.apply("gpu.memory.fill", {"gpu": rig.uuid, "used_percent": 50})
    assert "exclusive compute mode" in answer["error"]["message"]


def test_a_pci_bus_id_and_an_allowed_index_name_the_gpu(rig: Rig) -> None:
    bus: Any = rig.gpus.show()[0]["identity"]["pci_bus_id"]
    for name, more in ((bus, {}), ("0", {"allow_index": True})):
        answer = rig.apply(POWER, {"gpu": name, "watts": 300, **more})
        assert answer["state"] == "active", answer
        assert answer["claims"][0].startswith(f"gpu:{rig.uuid}")
        assert rig.undo(answer["lease"])["state"] == "clean"


def test_a_holder_refuses_cuda_of_another_kind_than_nvml(rig: Rig) -> None:
    code = (
        "from chaosgpu.agent.cuda.device import CudaDevice\n"
        "from chaosgpu.agent.errors import Refused\n"
        f"try: CudaDevice({rig.uuid!r}, None)\n"
        "except Refused as error: print(error)"
    )
    command = [sys.executable, "-c", code]
    said = subprocess.run(command, env=rig.environment, capture_output=True, text=True, check=True, timeout=20).stdout
    assert "NVML here is the real but the simulated" in said
    assert "Nothing was changed" in said
