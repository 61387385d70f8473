# SPDX-License-Identifier: Apache-2.0
"""Gathering values of which some cannot be had: NOT_SUPPORTED becomes "unknown" with the reason, never 0 or false."""

from typing import Any, Callable, TypeVar

from chaosgpu.agent.nvml_calls import (
    ARGUMENT_VERSION_MISMATCH,
    FUNCTION_NOT_FOUND,
    NO_PERMISSION,
    NOT_SUPPORTED,
    fail,
    find,
    nvml,
)
from chaosgpu.agent.values import JsonObject, JsonValue

Found = TypeVar("Found")

_NO_DATA = 21
_DEPRECATED = 26
_NOT_READY = 27
_OTHER_WAY = (NOT_SUPPORTED, FUNCTION_NOT_FOUND, ARGUMENT_VERSION_MISMATCH, _DEPRECATED)
_WHY = {
    NOT_SUPPORTED: "this product, its mode, or the virtual machine that it is passed through to does not offer it",
    NO_PERMISSION: "the driver shows it to root only",
    FUNCTION_NOT_FOUND: "the installed driver is too old for it",
    ARGUMENT_VERSION_MISMATCH: "the installed driver is too old for it",
    _NO_DATA: "the driver has no data for it yet",
    _DEPRECATED: "the installed driver no longer offers it",
    _NOT_READY: "the driver is not ready to tell it",
}


class Collected:
    """The values of one GPU that are known, and for each unknown one why."""

    def __init__(self, uuid: str) -> None:
        self.uuid = uuid
        self.handle: Any = find(uuid)
        self.values: JsonObject = {}
        self.unknown: JsonObject = {}

    def take(self, name: str, read: Callable[[], JsonValue]) -> None:
        """Read one value and keep it under its name, or keep why it cannot be known; other errors are raised."""
        try:
            self.values[name] = read()
        except nvml.NVMLError as error:
            self.unknown[name] = self.why(error, name)

    def why(self, error: Any, name: str) -> str:
        """Say why a value is unknown; an error that means more than that is raised."""
        if error.value not in _WHY:
            fail(error.value, f"Reading {name} of GPU {self.uuid}")
        return f"{_WHY[error.value]} (NVML {error.value}, {error})"

    def answer(self) -> JsonObject:
        """Return both parts as JSON."""
        return {"values": self.values, "unknown": self.unknown}


def either(first: Callable[[], Found], second: Callable[[], Found]) -> Found:
    """Read in the new way, or in the old way where the driver has none; if it has neither, the first error counts."""
    try:
        return first()
    except nvml.NVMLError as error:
        if error.value not in _OTHER_WAY:
            raise
        try:
            return second()
        except nvml.NVMLError as other:
            if other.value in _OTHER_WAY:
                raise error from other
            raise


_MEMBERS = {0: "dVal", 1: "uiVal", 2: "ulVal", 3: "ullVal", 4: "sllVal", 5: "siVal", 6: "usVal"}


def field_value(handle: Any, field: int, scope: int = 0) -> int:
    """Read one of NVML's numbered fields; raises the field's own error."""
    value = nvml.nvmlDeviceGetFieldValues(handle, [(field, scope)])[0]
    if value.nvmlReturn != 0:
        raise nvml.NVMLError(value.nvmlReturn)
    return int(getattr(value.value, _MEMBERS[value.valueType]))
