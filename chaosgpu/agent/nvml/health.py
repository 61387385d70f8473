# SPDX-License-Identifier: Apache-2.0
"""What tells whether a GPU is sound: ECC, remapped rows, retired pages, the recovery action."""

from typing import Any, Callable, List

from chaosgpu.agent.nvml.collect import Collected, field_value
from chaosgpu.agent.nvml_calls import NOT_SUPPORTED, nvml, nvml_call
from chaosgpu.agent.values import JsonObject, JsonValue, mapping

_FIELD_RECOVERY_ACTION = 230
_CORRECTED, _UNCORRECTED = 0, 1
_VOLATILE, _AGGREGATE = 0, 1
_ROWS_INSTEAD = f"this product remaps rows instead: ask remapped_rows (NVML {NOT_SUPPORTED})"
# nvmlGpuRecoveryAction_t in nvml.h; 5 and later are of drivers since 590.
RECOVERY_ACTIONS = {
    0: "none",
    1: "gpu_reset",
    2: "node_reboot",
    3: "drain_p2p",
    4: "drain_and_reset",
    5: "recover_imex_domain",
    6: "bus_reset",
    7: "system_reboot",
}


@nvml_call
def read_ecc(uuid: str) -> JsonObject:
    """Return the ECC error counts: volatile since the driver was loaded, aggregate over the GPU's life."""
    gpu = Collected(uuid)
    gpu.take("enabled", lambda: bool(nvml.nvmlDeviceGetEccMode(gpu.handle)[0]))
    for kind, name in ((_CORRECTED, "corrected"), (_UNCORRECTED, "uncorrected")):
        for counter, span in ((_VOLATILE, "volatile"), (_AGGREGATE, "aggregate")):
            gpu.take(f"{name}_{span}", _ecc_counter(gpu.handle, kind, counter))
    gpu.take("sram_threshold_exceeded", lambda: _sram_threshold(gpu.handle))
    return gpu.answer()


def _ecc_counter(handle: Any, kind: int, counter: int) -> Callable[[], JsonValue]:
    return lambda: int(nvml.nvmlDeviceGetTotalEccErrors(handle, kind, counter))


def _sram_threshold(handle: Any) -> bool:
    status = nvml.c_nvmlEccSramErrorStatus_v1_t()
    nvml.nvmlDeviceGetSramEccErrorStatus(handle, nvml.byref(status))
    return bool(status.bThresholdExceeded)


@nvml_call
def read_remapped_rows(uuid: str) -> JsonObject:
    """Return the remapped rows of HBM and GDDR (Ampere and later), and whether a remapping waits or has failed."""
    gpu = Collected(uuid)
    for position, name in enumerate(("corrected", "uncorrected", "pending", "failure")):
        gpu.take(name, _remapped(gpu.handle, position))
    return gpu.answer()


def _remapped(handle: Any, position: int) -> Callable[[], JsonValue]:
    def read() -> JsonValue:
        number = int(nvml.nvmlDeviceGetRemappedRows(handle)[position])
        return number if position < 2 else bool(number)  # noqa: PLR2004 (the first two are counts, the others flags)

    return read


@nvml_call
def read_retired_pages(uuid: str) -> JsonObject:
    """Return how many pages of memory were retired (before Ampere), and whether a retirement waits for a reset."""
    gpu = Collected(uuid)
    for cause, name in (
        (nvml.NVML_PAGE_RETIREMENT_CAUSE_MULTIPLE_SINGLE_BIT_ECC_ERRORS, "single_bit"),
        (nvml.NVML_PAGE_RETIREMENT_CAUSE_DOUBLE_BIT_ECC_ERROR, "double_bit"),
    ):
        _take_retired(gpu, name, _retired(gpu.handle, cause))
    _take_retired(gpu, "pending", lambda: bool(nvml.nvmlDeviceGetRetiredPagesPendingStatus(gpu.handle)))
    return gpu.answer()


def _take_retired(gpu: Collected, name: str, read: Callable[[], JsonValue]) -> None:
    try:
        gpu.values[name] = read()
    except nvml.NVMLError as error:
        instead = error.value == NOT_SUPPORTED and _remaps_rows(gpu.handle)
        gpu.unknown[name] = _ROWS_INSTEAD if instead else gpu.why(error, name)


def _remaps_rows(handle: Any) -> bool:
    try:
        nvml.nvmlDeviceGetRemappedRows(handle)
    except nvml.NVMLError:
        return False
    return True


def _retired(handle: Any, cause: int) -> Callable[[], JsonValue]:
    return lambda: len(nvml.nvmlDeviceGetRetiredPages(handle, cause))


@nvml_call
def read_recovery_action(uuid: str) -> JsonObject:
    """Return what the driver wants done with the GPU (field 230)."""
    gpu = Collected(uuid)
    gpu.take("code", lambda: field_value(gpu.handle, _FIELD_RECOVERY_ACTION))
    code = gpu.values.get("code")
    if isinstance(code, int):
        gpu.values["action"] = RECOVERY_ACTIONS.get(code, f"code {code}, which is newer than this program")
    else:
        gpu.unknown["action"] = gpu.unknown["code"]
    return gpu.answer()


@nvml_call
def why_unhealthy(uuid: str) -> JsonValue:
    """Return the reasons, as sentences, for which nobody should put a fault on this GPU; none: an empty list."""
    action = mapping(read_recovery_action(uuid), "values")
    pages = mapping(read_retired_pages(uuid), "values")
    rows = mapping(read_remapped_rows(uuid), "values")
    reasons: List[JsonValue] = []
    if action.get("code"):
        reasons.append(f"the driver asks for a recovery action: {action['action']}")
    if pages.get("pending"):
        reasons.append("a page of its memory waits to be retired at the next reset")
    if rows.get("pending"):
        reasons.append("a row of its memory waits to be remapped at the next reset")
    if rows.get("failure"):
        reasons.append("a row of its memory could not be remapped: the board is to be replaced")
    return reasons
