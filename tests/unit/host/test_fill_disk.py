# SPDX-License-Identifier: Apache-2.0
"""disk.fill as an experiment names it: its values, the order that it makes, and its example."""

import inspect
import json
from dataclasses import replace
from typing import Any

import pytest

from chaosgpu.agent.faults.disk_fill import DiskFill
from chaosgpu.agent.faults.disk_level import DiskParams
from chaosgpu.errors import BadArgument, NoGuard
from chaosgpu.host import actions

PLAIN = DiskParams("/srv/db", None, None, tolerance_mib=8, take_reserved=False, allow_root=False, allow_memory=False)
BAD: list[tuple[dict[str, Any], str]] = [
    ({}, "Give either used_percent or leave_free_mib"),
    ({"used_percent": 90, "leave_free_mib": 0}, "Give either used_percent or leave_free_mib"),
    ({"used_percent": 0}, "used_percent must be at least 1 and at most 100, not 0"),
    ({"used_percent": 101}, "used_percent must be at least 1 and at most 100, not 101"),
    ({"leave_free_mib": -1}, "leave_free_mib must be at least 0"),
    ({"leave_free_mib": 1.5}, "leave_free_mib must be a whole number"),
    ({"leave_free_mib": 0, "tolerance_mib": 0}, "tolerance_mib must be at least 1"),
    ({"leave_free_mib": 0, "take_reserved": "yes"}, "take_reserved must be true or false"),
    ({"leave_free_mib": 0, "allow_root": 1}, "allow_root must be true or false"),
    ({"leave_free_mib": 0, "allow_memory": None}, "allow_memory must be true or false"),
    ({"leave_free_mib": 0, "duration_s": 0}, "duration_s must be a number of seconds over 0"),
    ({"leave_free_mib": 0, "folder": "srv"}, "folder must be an absolute path"),
    ({"leave_free_mib": 0, "folder": "/srv/../etc"}, "folder must be an absolute path"),
    ({"leave_free_mib": 0, "folder": None}, "folder must be an absolute path"),
]


@pytest.mark.parametrize(("arguments", "sentence"), BAD)
def test_a_bad_value_is_refused_before_the_guard_is_asked(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadArgument) as refused:
        actions.fill_disk(**{"folder": "/srv/db", "duration_s": 60, **arguments})
    assert sentence in str(refused.value)


def test_without_the_guard_it_goes_no_further() -> None:
    with pytest.raises(NoGuard):
        actions.fill_disk("/srv/db", 60, leave_free_mib=0)


@pytest.mark.parametrize(
    ("arguments", "parsed"),
    [
        ({"leave_free_mib": 0}, replace(PLAIN, leave_free_mib=0)),
        ({"used_percent": 95, "take_reserved": True}, replace(PLAIN, used_percent=95.0, take_reserved=True)),
        (
            {"leave_free_mib": 9, "tolerance_mib": 1, "allow_root": True, "allow_memory": True},
            replace(PLAIN, leave_free_mib=9, tolerance_mib=1, allow_root=True, allow_memory=True),
        ),
    ],
)
def test_the_fault_understands_what_it_orders(
    arguments: dict[str, Any], parsed: DiskParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = []

    def apply_fault(fault: str, params: dict[str, Any], **rest: object) -> dict[str, Any]:
        orders.append((fault, params, rest))
        return {}

    monkeypatch.setattr("chaosgpu.lease.apply.apply_fault", apply_fault)
    actions.fill_disk("/srv/db", 60, **arguments)
    ((fault, params, rest),) = orders
    assert (fault, rest) == ("disk.fill", {"duration_s": 60, "hosts": "localhost", "timeout_s": 60})
    assert DiskFill().parse(json.loads(json.dumps(params))) == parsed


def test_the_example_in_the_docstring_is_an_action_of_that_name() -> None:
    text = inspect.getdoc(actions.fill_disk) or ""
    example = json.loads(text[text.index("{") : text.index("}\n\n") + 1])
    assert example["provider"]["func"] == "fill_disk"
    inspect.signature(actions.fill_disk).bind(**example["provider"]["arguments"])
