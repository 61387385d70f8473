# SPDX-License-Identifier: Apache-2.0
"""The actions: values refused before anything is asked of a host, and orders that the faults understand."""

import inspect
import json
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from chaosgpu.agent.faults.registry import REGISTRY
from chaosgpu.errors import BadArgument, NoGuard
from chaosgpu.gpu import actions

GPU = "GPU-5c0ffee0-0000-0000-0000-000000000000"
BACK = {"restored_by": {"unit": "triton.service"}}
LOCK = {"min_mhz": 300, "max_mhz": 900}

GOOD: list[tuple[str, str, dict[str, Any]]] = [
    ("fill_memory", "gpu.memory.fill", {"used_percent": 92}),
    ("fill_memory", "gpu.memory.fill", {"leave_free_mib": 0}),
    ("leak_memory", "gpu.memory.leak", {"rate_mib_s": 400}),
    ("leak_memory", "gpu.memory.leak", {"rate_mib_s": 0.5, "leave_free_percent": 0, "ceiling_mib": 2}),
    ("lock_clocks", "gpu.clock.lock", {"mhz": 600}),
    ("lock_clocks", "gpu.clock.lock", {**LOCK, "prior_lock": {"min_mhz": 1, "max_mhz": 2}}),
    ("cap_power", "gpu.power.cap", {"watts": 300}),
    ("set_compute_mode", "gpu.compute_mode.set", {"mode": "prohibited"}),
    ("set_compute_mode", "gpu.compute_mode.set", {"mode": "exclusive_process", "squatter": True}),
    ("disable_persistence", "gpu.persistence.off", {}),
    ("disable_persistence", "gpu.persistence.off", {"prior_lock": LOCK}),
    ("burn", "gpu.burn", {}),
    ("burn", "gpu.burn", {"duty_percent": 1}),
    ("kill_processes", "gpu.process.kill", {"pid": 7, **BACK}),
    ("kill_processes", "gpu.process.kill", {"user": "root", "restored_by": {"command": ["/bin/true"]}}),
    ("stop_processes", "gpu.process.stop", {"user": "root"}),
]

BAD: list[tuple[str, dict[str, Any], str]] = [
    ("fill_memory", {}, "Give either used_percent or leave_free_mib"),
    ("fill_memory", {"used_percent": 5, "leave_free_mib": 5}, "Give either used_percent or leave_free_mib"),
    ("fill_memory", {"used_percent": 0}, "used_percent must be over 0 and at most 100, not 0"),
    ("fill_memory", {"used_percent": 100.5}, "used_percent must be over 0 and at most 100, not 100.5"),
    ("fill_memory", {"used_percent": "92"}, "used_percent must be a number, not '92'"),
    ("fill_memory", {"used_percent": float("nan")}, "used_percent must be a number"),
    ("fill_memory", {"leave_free_mib": -1}, "leave_free_mib must be at least 0"),
    ("leak_memory", {"rate_mib_s": -400}, "rate_mib_s must be at least 0.5, not -400"),
    ("leak_memory", {"rate_mib_s": 0}, "rate_mib_s must be at least 0.5, not 0"),
    ("leak_memory", {"rate_mib_s": 1, "leave_free_percent": 120}, "leave_free_percent must be at least 0 and at most"),
    ("leak_memory", {"rate_mib_s": 1, "ceiling_mib": 1}, "ceiling_mib must be at least 2"),
    ("lock_clocks", {}, "min_mhz must be a whole number, not None"),
    ("lock_clocks", {"mhz": 600, "max_mhz": 900}, "Give either mhz or max_mhz"),
    ("lock_clocks", {"min_mhz": 900, "max_mhz": 300}, "min_mhz 900 is over max_mhz 300"),
    ("lock_clocks", {"mhz": 600, "prior_lock": {"mhz": 1}}, "prior_lock must be"),
    ("cap_power", {"watts": 0}, "watts must be at least 1"),
    ("cap_power", {"watts": 300.5}, "watts must be a whole number"),
    ("set_compute_mode", {"mode": "default"}, "mode must be prohibited or exclusive_process"),
    ("set_compute_mode", {"mode": "prohibited", "squatter": "yes"}, "squatter must be true or false"),
    ("burn", {"duty_percent": 0}, "duty_percent must be at least 1 and at most 100, not 0"),
    ("burn", {"duty_percent": 101}, "duty_percent must be at least 1 and at most 100, not 101"),
    ("kill_processes", {"pid": 7, "restored_by": None}, "a killed process has no other undo"),
    ("kill_processes", {"pid": 7, "restored_by": {"command": "x"}}, "restored_by must be"),
    ("kill_processes", {"pid": 7, "restored_by": {"command": ["x"]}}, "must begin with an absolute path"),
    ("kill_processes", {"pid": 7, "signal": "HUP", **BACK}, "signal must be KILL or TERM"),
    ("kill_processes", {"pid": 7, "back_within_s": 0, **BACK}, "back_within_s must be at least 1"),
    ("kill_processes", {**BACK}, "Give either pid or user"),
    ("stop_processes", {"pid": 1}, "pid must be at least 2"),
    ("stop_processes", {"user": ""}, "user must be the name of a user"),
    ("stop_processes", {"pid": 7, "user": "root"}, "Give either pid or user"),
]


def _action(name: str) -> Callable[..., Any]:
    found: Callable[..., Any] = getattr(actions, name)
    return found


@pytest.mark.parametrize(("name", "arguments", "sentence"), BAD, ids=[f"{row[0]}-{row[1]}" for row in BAD])
def test_a_bad_value_is_refused_before_the_guard_is_asked(name: str, arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadArgument) as refused:
        _action(name)(gpu=GPU, duration_s=60, **arguments)
    assert sentence in str(refused.value)


@pytest.mark.parametrize(("name", "_fault", "arguments"), GOOD)
def test_what_every_action_shares_is_checked_too(name: str, _fault: str, arguments: dict[str, Any]) -> None:
    for wrong, sentence in (
        ({"gpu": "0"}, "indices change"),
        ({"gpu": 0}, "indices change"),
        ({"gpu": ""}, "gpu must be a GPU's UUID"),
        ({"gpu": GPU, "allow_index": 1}, "allow_index must be true or false"),
        ({"gpu": GPU, "duration_s": 0}, "duration_s must be a number of seconds over 0"),
        ({"gpu": GPU, "duration_s": -1}, "duration_s must be a number of seconds over 0"),
        ({"gpu": GPU, "timeout_s": 0}, "timeout_s must be a number of seconds over 0"),
    ):
        with pytest.raises(BadArgument, match=re.escape(sentence)):
            _action(name)(**{"duration_s": 60, **arguments, **wrong})


@pytest.mark.parametrize(("name", "fault", "arguments"), GOOD)
def test_the_fault_understands_what_its_action_orders(
    name: str, fault: str, arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = []

    def apply_fault(fault: str, params: dict[str, Any], **rest: object) -> dict[str, Any]:
        orders.append((fault, params, rest))
        return {}

    monkeypatch.setattr("chaosgpu.lease.apply.apply_fault", apply_fault)
    _action(name)(gpu=GPU, duration_s=60, **arguments)
    ((ordered, params, rest),) = orders
    assert ordered == fault
    assert rest == {"duration_s": 60, "hosts": "localhost", "timeout_s": 30}
    assert REGISTRY[fault].parse(json.loads(json.dumps(params)))


def test_without_the_guard_no_action_goes_further() -> None:
    with pytest.raises(NoGuard):
        actions.cap_power(gpu=GPU, watts=300, duration_s=60)


def test_every_fault_has_an_action() -> None:
    assert {fault for _, fault, _ in GOOD} == {fault for fault in REGISTRY if fault.startswith("gpu.")}
    assert {name for name, _, _ in GOOD} == set(actions.__all__)


@pytest.mark.parametrize("name", actions.__all__)
def test_the_example_in_the_docstring_is_an_action_of_that_name(name: str) -> None:
    text = inspect.getdoc(_action(name)) or ""
    example = json.loads(text[text.index("{") : text.index("}\n\n") + 1])
    assert example["provider"]["func"] == name
    inspect.signature(_action(name)).bind(**example["provider"]["arguments"])


def test_importing_the_actions_loads_neither_the_agent_nor_the_lease_machine() -> None:
    code = (
        "import sys, chaosgpu.gpu.actions; "
        "print([name for name in sys.modules if name.startswith(('chaosgpu.lease.', 'chaosgpu.agent', 'pynvml'))])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30).stdout
    assert out.strip() == "[]"
