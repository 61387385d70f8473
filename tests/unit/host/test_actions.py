# SPDX-License-Identifier: Apache-2.0
"""The actions on units: values refused before anything is asked of a host, and orders that the faults understand."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from chaosgpu.agent.faults.registry import REGISTRY
from chaosgpu.errors import BadArgument, NoGuard
from chaosgpu.host import actions, probes

_URL = "http://127.0.0.1:8000/v2/health/ready"
_PAGE = {"url": "http://127.0.0.1:8002/metrics", "pattern": r"^blocks (\d+)$"}
_LOG = {"log": True, "pattern": r"blocks: ([\d,]+)"}
GOOD: list[tuple[str, str, dict[str, Any]]] = [
    ("stop_unit", "unit.stop", {}),
    ("kill_unit", "unit.kill", {}),
    ("kill_unit", "unit.kill", {"signal": "TERM", "back_within_s": 600}),
    ("freeze_unit", "unit.freeze", {}),
    ("vanish_files", "unit.files.vanish", {"files": ["/srv/db/a", "/srv/db/b"]}),
    ("vanish_files", "unit.files.vanish", {"files": ["/srv/db/a"], "folders": True}),
    ("damage_files", "unit.files.damage", {"files": ["/srv/db/a"], "bytes": 7}),
    ("damage_files", "unit.files.damage", {"files": ["/srv/db/a"], "bytes": 7, "seed": 0, "back_within_s": 90}),
    ("deny_gpu_to_unit", "unit.gpu.deny", {}),
    ("deny_gpu_to_unit", "unit.gpu.deny", {"gpu": "GPU-5c0ffee0"}),
    ("deny_gpu_to_unit", "unit.gpu.deny", {"gpu": "0", "allow_index": True}),
    ("hide_gpu_from_unit", "unit.gpu.hide", {"back_within_s": 1}),
    ("shrink_kv_cache", "unit.kv_cache.shrink", {"environment": {"name": "SHARE", "value": "0.1"}, "blocks": _PAGE}),
    ("shrink_kv_cache", "unit.kv_cache.shrink", {"arguments": ["--share", "0.1"], "blocks": _LOG}),
    ("inject_cuda_errors", "unit.cuda.errors", {"code": 700}),
    ("inject_cuda_errors", "unit.cuda.errors", {"code": 2, "calls": ["alloc"], "every": 3, "ready_url": _URL}),
    ("inject_cuda_errors", "unit.cuda.errors", {"code": 999, "library": {"path": "/x.so", "sha256": "0" * 64}}),
]
# That of packages is in tests/unit/packages, that of disks in test_fill_disk.py.
ON_UNITS = [name for name in actions.__all__ if name not in ("install_packages", "fill_disk")]
# What each action must be given besides the unit.
NEEDS: dict[str, dict[str, Any]] = {
    "shrink_kv_cache": {"arguments": ["--share=0.1"], "blocks": _LOG},
    "inject_cuda_errors": {"code": 700},
    "vanish_files": {"files": ["/srv/db/a"]},
    "damage_files": {"files": ["/srv/db/a"], "bytes": 7},
}
BAD: list[tuple[str, dict[str, Any], str]] = [
    ("kill_unit", {"signal": "HUP"}, "signal must be KILL or TERM or INT"),
    ("vanish_files", {"files": []}, "files must be a list of 1 to 16 absolute paths"),
    ("vanish_files", {"files": "/srv/db/a"}, "files must be a list of 1 to 16 absolute paths"),
    ("vanish_files", {"files": ["db/a"]}, "files must be absolute paths"),
    ("vanish_files", {"files": ["/srv/../a"]}, "files must be absolute paths"),
    ("vanish_files", {"files": ["/a", "/a"]}, "files must name each file once"),
    ("damage_files", {"files": ["/a"], "bytes": 0}, "bytes must be at least 1"),
    ("damage_files", {"files": ["/a"], "bytes": 1, "seed": -1}, "seed must be at least 0"),
    ("stop_unit", {"back_within_s": 0}, "back_within_s must be at least 1"),
    ("hide_gpu_from_unit", {"back_within_s": 601}, "back_within_s must be at least 1 and at most 600"),
    ("deny_gpu_to_unit", {"allow_index": 1}, "allow_index must be true or false"),
    ("shrink_kv_cache", {"blocks": _LOG}, "Give either environment or arguments"),
    ("shrink_kv_cache", {"blocks": _LOG, "arguments": []}, "arguments must be a list of texts"),
    ("shrink_kv_cache", {"blocks": _LOG, "arguments": ["x"], "tolerance_percent": 21}, "tolerance_percent must be"),
    ("inject_cuda_errors", {"code": "700"}, "code must be a whole number"),
    ("inject_cuda_errors", {"code": 700, "calls": ["all"]}, "calls must be alloc or launch or copy or sync"),
    ("inject_cuda_errors", {"code": 700, "every": 0}, "every must be at least 1"),
    ("inject_cuda_errors", {"code": 700, "settle_s": -1}, "settle_s must be at least 0"),
]


def _action(name: str) -> Callable[..., Any]:
    found: Callable[..., Any] = getattr(actions, name)
    return found


@pytest.mark.parametrize(("name", "arguments", "sentence"), BAD)
def test_a_bad_value_is_refused_before_the_guard_is_asked(name: str, arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadArgument, match=re.escape(sentence)):
        _action(name)(unit="triton.service", duration_s=60, **arguments)


@pytest.mark.parametrize("name", ON_UNITS)
@pytest.mark.parametrize("unit", ["triton", "*.service", "a.slice", "vllm@.service", "", None, 7])
def test_only_the_whole_name_of_a_service_is_taken(name: str, unit: object) -> None:
    with pytest.raises(BadArgument, match="whole name of a service"):
        _action(name)(unit=unit, duration_s=60, **NEEDS.get(name, {}))


@pytest.mark.parametrize("name", probes.__all__)
def test_a_probe_takes_no_other_name_either(name: str) -> None:
    with pytest.raises(BadArgument, match="whole name of a service"):
        getattr(probes, name)(unit="triton")


@pytest.mark.parametrize(("name", "fault", "arguments"), GOOD)
def test_the_fault_understands_what_its_action_orders(
    name: str, fault: str, arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = []

    def apply_fault(fault: str, params: dict[str, Any], **rest: object) -> dict[str, Any]:
        orders.append((fault, params, rest["duration_s"]))
        return {}

    monkeypatch.setattr("chaosgpu.lease.apply.apply_fault", apply_fault)
    _action(name)(unit="triton.service", duration_s=60, **arguments)
    ((ordered, params, duration_s),) = orders
    assert (ordered, duration_s) == (fault, 60)
    assert REGISTRY[fault].parse(json.loads(json.dumps(params)))


def test_without_the_guard_no_action_goes_further() -> None:
    with pytest.raises(NoGuard):
        actions.stop_unit(unit="triton.service", duration_s=60)


def test_every_fault_of_units_has_an_action() -> None:
    assert {name for name, _, _ in GOOD} == set(ON_UNITS)
    assert {fault for _, fault, _ in GOOD} == {fault for fault in REGISTRY if fault.startswith("unit.")}


def test_importing_them_loads_neither_the_agent_nor_the_lease_machine() -> None:
    code = (
        "import sys, chaosgpu.host.actions, chaosgpu.host.probes; "
        "print([name for name in sys.modules if name.startswith(('chaosgpu.lease.', 'chaosgpu.agent', 'pynvml'))])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30).stdout
    assert out.strip() == "[]"
