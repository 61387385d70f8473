# SPDX-License-Identifier: Apache-2.0
"""package.install as an experiment names it: its values, the order it makes, and where it is refused outright."""

import re
from typing import Any

import pytest

from chaosgpu.agent.clock import SystemClock
from chaosgpu.agent.errors import Forbidden, Refused
from chaosgpu.agent.faults.contract import Context
from chaosgpu.agent.faults.package_install import PackageInstall, PackageParams
from chaosgpu.agent.values import JsonObject, JsonValue
from chaosgpu.errors import BadArgument
from chaosgpu.host import actions
from unit.faults.rig import refusal

GOOD: JsonObject = {"packages": {"nvidia-open": "580.95.05-1", "libcuda1:i386": "1:2~3+4"}}
BAD: list[tuple[JsonObject, str]] = [
    ({}, "packages must name a version for each package"),
    ({"packages": {"nvidia-open": ""}}, "nvidia-open must be a text"),
    ({"packages": {"nvidia-open": "580*"}}, "is no package in one whole version"),
    ({"packages": {"nvidia-*": "580-1"}}, "is no package in one whole version"),
    ({"packages": {"-y": "1"}}, "is no package in one whole version"),
    ({**GOOD, "may_remove": "nvidia-utils"}, "may_remove must be a list of names"),
    ({**GOOD, "back_within_s": 1}, "back_within_s must be between 10"),
    ({**GOOD, "version": "1"}, "has no parameter version"),
]


class _NoDriver:
    def call(self, name: str, *arguments: JsonValue) -> JsonValue:
        raise AssertionError((name, arguments))


CONTEXT = Context(_NoDriver(), SystemClock())


@pytest.mark.parametrize(("raw", "sentence"), BAD)
def test_a_bad_value_is_refused_with_a_sentence(raw: JsonObject, sentence: str) -> None:
    assert sentence in refusal("package.install", raw)


def test_the_fault_understands_what_its_action_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    orders = []

    def apply_fault(fault: str, params: JsonObject, **rest: object) -> JsonObject:
        orders.append((fault, params, rest["duration_s"]))
        return {}

    monkeypatch.setattr("chaosgpu.lease.apply.apply_fault", apply_fault)
    actions.install_packages({"nvidia-open": "580.95.05-1"}, duration_s=600, may_remove=["nvidia-utils"])
    ((fault, params, duration_s),) = orders
    assert (fault, duration_s) == ("package.install", 600)
    parsed = PackageInstall().parse(params)
    assert parsed == PackageParams({"nvidia-open": "580.95.05-1"}, ("nvidia-utils",), 900.0)
    assert PackageInstall().claims(parsed, Context(_NoDriver(), SystemClock())) == (
        "dpkg:database",
        "package:nvidia-open",
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"packages": {}}, "packages must name a version"),
        ({"packages": {"nvidia-open": "*"}}, "one whole version"),
        ({"packages": {"Nvidia": "1"}}, "names of packages"),
        ({"packages": {"nvidia-open": "1"}, "may_remove": ["*"]}, "names of packages"),
        ({"packages": {"nvidia-open": "1"}, "back_within_s": 5}, "back_within_s must be at least 10"),
    ],
)
def test_a_bad_value_is_refused_before_the_guard_is_asked(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadArgument, match=re.escape(sentence)):
        actions.install_packages(duration_s=60, **arguments)


def test_under_a_home_of_its_own_and_with_its_records_in_memory_nothing_is_touched() -> None:
    fault = PackageInstall()
    parsed = fault.parse(GOOD)
    with pytest.raises(Forbidden, match="no package of this host is touched"):
        fault.check(parsed, Context(_NoDriver(), SystemClock(), limited_to_home="/x"))
    with pytest.raises(Refused, match="after a reboot nobody would know how the packages were"):
        fault.check(parsed, Context(_NoDriver(), SystemClock(), lease_dir="/dev/shm/leases/l1"))  # noqa: S108 (memory)
