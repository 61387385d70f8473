# SPDX-License-Identifier: Apache-2.0
"""The actions that make drift: values refused before anything is asked of a host, and orders that the faults take."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from chaosgpu.agent.faults.registry import REGISTRY
from chaosgpu.cuda import actions
from chaosgpu.errors import BadArgument, NoGuard

_DRIVER = "/opt/driver-575.57.08/libcuda.so.575.57.08"
_NVML = "/opt/driver-575.57.08/libnvidia-ml.so.575.57.08"
_SPARSE = "/opt/cuda-11.8/lib64/libcusparse.so.11.7.5.86"
UNIT = {"unit": "triton.service"}
GOOD: list[tuple[str, str, dict[str, Any]]] = [
    ("mismatch_library", "library.mismatch", {**UNIT, "files": [_DRIVER]}),
    ("mismatch_library", "library.mismatch", {**UNIT, "files": [_DRIVER, _NVML], "loads_within_s": 600}),
    ("shadow_library", "library.shadow", {**UNIT, "file": _SPARSE}),
    ("shadow_library", "library.shadow", {**UNIT, "file": _SPARSE, "as_name": "libcusparse.so.12"}),
    ("upgrade_unattended", "package.unattended", {"packages": ["nvidia-open"]}),
    ("upgrade_unattended", "package.unattended", {"packages": ["nvidia-open", "libcuda1:i386"], "must_change": False}),
]
BAD: list[tuple[str, dict[str, Any], str]] = [
    ("mismatch_library", {"unit": "triton", "files": [_DRIVER]}, "whole name of a service"),
    ("mismatch_library", {**UNIT, "files": []}, "files must be a list of paths"),
    ("mismatch_library", {**UNIT, "files": _DRIVER}, "files must be a list of paths"),
    ("mismatch_library", {**UNIT, "files": ["libcuda.so.1"]}, "files must be the whole path"),
    ("mismatch_library", {**UNIT, "files": [_DRIVER], "loads_within_s": 0}, "loads_within_s must be at least 1"),
    ("mismatch_library", {**UNIT, "files": [_DRIVER], "back_within_s": 601}, "back_within_s must be at least 1 and at"),
    ("shadow_library", {"unit": "*.service", "file": _SPARSE}, "whole name of a service"),
    ("shadow_library", {**UNIT, "file": "/opt/cuda 11/libcusparse.so.11"}, "file must be the whole path"),
    ("shadow_library", {**UNIT, "file": "/opt/cuda:/libcusparse.so.11"}, "file must be the whole path"),
    ("shadow_library", {**UNIT, "file": "/etc/passwd"}, "file must be the whole path"),
    ("shadow_library", {**UNIT, "file": _SPARSE, "as_name": "/x/libcusparse.so"}, "as_name must be the name"),
    ("upgrade_unattended", {"packages": []}, "packages must name at least one package"),
    ("upgrade_unattended", {"packages": ["*"]}, "names of packages"),
    ("upgrade_unattended", {"packages": ["nvidia-open"], "must_change": "no"}, "must_change must be true or false"),
    ("upgrade_unattended", {"packages": ["nvidia-open"], "back_within_s": 9}, "back_within_s must be at least 10"),
]


def _action(name: str) -> Callable[..., Any]:
    found: Callable[..., Any] = getattr(actions, name)
    return found


@pytest.mark.parametrize(("name", "arguments", "sentence"), BAD)
def test_a_bad_value_is_refused_before_the_guard_is_asked(name: str, arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadArgument, match=re.escape(sentence)):
        _action(name)(duration_s=60, **arguments)


@pytest.mark.parametrize(("name", "fault", "arguments"), GOOD)
def test_the_fault_understands_what_its_action_orders(
    name: str, fault: str, arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = []

    def apply_fault(fault: str, params: dict[str, Any], **rest: object) -> dict[str, Any]:
        orders.append((fault, params, rest["duration_s"]))
        return {}

    monkeypatch.setattr("chaosgpu.lease.apply.apply_fault", apply_fault)
    _action(name)(duration_s=60, **arguments)
    ((ordered, params, duration_s),) = orders
    assert (ordered, duration_s) == (fault, 60)
    assert REGISTRY[fault].parse(json.loads(json.dumps(params)))


@pytest.mark.parametrize(("name", "arguments"), [(name, arguments) for name, _, arguments in GOOD])
def test_without_the_guard_no_action_goes_further(name: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(NoGuard):
        _action(name)(duration_s=60, **arguments)


def test_every_fault_that_makes_drift_has_an_action() -> None:
    assert {name for name, _, _ in GOOD} == set(actions.__all__)
    makes_drift = {fault for fault in REGISTRY if fault.startswith("library.")} | {"package.unattended"}
    assert {fault for _, fault, _ in GOOD} == makes_drift


def test_importing_them_loads_neither_the_agent_nor_the_lease_machine() -> None:
    code = (
        "import sys, chaosgpu.cuda.actions; "
        "print([name for name in sys.modules if name.startswith(('chaosgpu.lease.', 'chaosgpu.agent', 'pynvml'))])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30).stdout
    assert out.strip() == "[]"
