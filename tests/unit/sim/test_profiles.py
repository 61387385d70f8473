# SPDX-License-Identifier: Apache-2.0
"""Products: what each says of itself, and what it does not support."""

import json
from pathlib import Path
from typing import Any

import pytest

from chaosgpu.errors import BadArgument
from chaosgpu.sim import profile

# Every NVML function that is simulated, by an expression of `peer.py` that calls it through the unmodified pynvml.
CALLS: dict[str, str] = json.loads(Path(__file__).with_name("calls.json").read_text(encoding="utf-8"))

# Not the answer of a healthy idle GPU, by nature of the call.
_OTHER_ANSWERS = {
    "nvmlDeviceGetProcessUtilization": "NVMLError_NotFound",  # nothing has run
    "nvmlEventSetWait": "NVMLError_Timeout",  # nothing has happened
    "nvmlDeviceRemoveGpu": "NVMLError_InUse",  # only a drained one can go
}
_FANLESS = {("h100", "nvmlDeviceGetFanSpeed_v2")}  # it has no fan 0, as a real one says
# Beyond the list of the product: the call is there, the mode for it is off.
_MODE_IS_OFF = {
    "geforce": {"nvmlDeviceGetTotalEccErrors", "nvmlDeviceGetMemoryErrorCounter", "nvmlDeviceClearEccErrorCounts"}
    | {"nvmlDeviceGetSramEccErrorStatus"},
    "h100": {"nvmlDeviceGetMigDeviceHandleByIndex"},
    "a100": {"nvmlDeviceGetMigDeviceHandleByIndex"},
}


@pytest.mark.parametrize("product", profile.names())
def test_each_function_answers_or_is_not_supported_as_the_product_says(product: str, make: Any, start: Any) -> None:
    gpus = make(product)
    peer = start(gpus)
    peer("device() and 0")
    lacking = set(profile.load(product).not_supported)
    wrong = {}
    for function, expression in CALLS.items():
        outcome = peer.outcome(expression)
        expected = _OTHER_ANSWERS.get(function, "a value")
        if (product, function) in _FANLESS:
            expected = "NVMLError_InvalidArgument"
        if function in lacking or function in _MODE_IS_OFF.get(product, set()):
            expected = "NVMLError_NotSupported"
        raised = isinstance(outcome, str) and outcome.startswith("NVMLError_")
        if (outcome if raised else "a value") != expected:
            wrong[function] = (outcome, expected)
    assert wrong == {}


def test_ninety_seven_functions_and_more_are_called() -> None:
    assert len(CALLS) >= 97


NUMBERS = {
    "h100": ["NVIDIA H100 80GB HBM3", 81559, 700, [9, 0]],
    "a100": ["NVIDIA A100-SXM4-80GB", 81920, 400, [8, 0]],
    "l40s": ["NVIDIA L40S", 46068, 350, [8, 9]],
    "t4": ["Tesla T4", 15360, 70, [7, 5]],
    "geforce": ["NVIDIA GeForce RTX 4090", 24564, 450, [8, 9]],
}


@pytest.mark.parametrize("product", NUMBERS)
def test_a_product_has_the_numbers_of_the_real_one(product: str, make: Any, start: Any) -> None:
    peer = start(make(product))
    calls = (
        "nvml.nvmlDeviceGetName(device())",
        "nvml.nvmlDeviceGetMemoryInfo(device()).total // MIB",
        "nvml.nvmlDeviceGetPowerManagementDefaultLimit(device()) // 1000",
        "nvml.nvmlDeviceGetCudaComputeCapability(device())",
    )
    assert [peer(call) for call in calls] == NUMBERS[product]


def test_each_instance_has_uuids_of_its_own(make: Any) -> None:
    one, other = make(gpus=16, seed=None), make(gpus=16, seed=None)
    uuids = [gpu["identity"]["uuid"] for instance in (one, other) for gpu in instance.show()]
    assert len(set(uuids)) == 32
    assert all(uuid.startswith("GPU-5c0ffee0-") and len(uuid) == 40 for uuid in uuids)
    assert one.document()["system"]["identity"]["instance"] != other.document()["system"]["identity"]["instance"]


def test_the_same_seed_gives_the_same_uuids(make: Any) -> None:
    one, other = make(gpus=2, seed=7), make(gpus=2, seed=7)
    assert [gpu["identity"] for gpu in one.show()] == [gpu["identity"] for gpu in other.show()]


def test_both_libraries_answer_the_instance(make: Any, start: Any) -> None:
    gpus = make()
    peer = start(gpus)
    ask = "(setattr({0}.chaosgpuSimInstance, 'restype', ctypes.c_char_p), {0}.chaosgpuSimInstance().decode())[1]"
    instance = gpus.document()["system"]["identity"]["instance"]
    assert peer(ask.format("cuda")) == instance
    assert peer("device() and 0") == 0
    assert peer(ask.format("nvml.nvmlLib")) == instance


def test_an_alias_names_the_same_product() -> None:
    assert profile.load("h100-sxm") == profile.load("h100")


def test_an_unknown_product_is_refused_with_those_that_are_known(make: Any) -> None:
    with pytest.raises(BadArgument, match="no simulated GPU called 'h900'; known are a100, geforce, h100, l40s, t4"):
        make("h900")


@pytest.mark.parametrize("gpus", [0, 17])
def test_a_number_of_gpus_that_no_machine_has_is_refused(gpus: int, make: Any) -> None:
    with pytest.raises(BadArgument, match=f"not {gpus}"):
        make(gpus=gpus)
