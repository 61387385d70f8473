# SPDX-License-Identifier: Apache-2.0
"""Bad values are refused with a sentence that names the parameter, before anything is touched."""

import pytest

from chaosgpu.agent.faults.registry import REGISTRY
from chaosgpu.agent.values import JsonObject
from unit.faults.rig import refusal

GPU = {"gpu": "GPU-5c0ffee0-0000-0000-0000-000000000000"}
BACK: JsonObject = {"restored_by": {"unit": "triton.service"}}

BAD: list[tuple[str, JsonObject, str]] = [
    ("gpu.memory.fill", {}, "either used_percent or leave_free_mib"),
    ("gpu.memory.fill", {"used_percent": 50, "leave_free_mib": 1}, "either used_percent or leave_free_mib"),
    ("gpu.memory.fill", {"used_percent": 0}, "used_percent must be over 0"),
    ("gpu.memory.fill", {"used_percent": -5}, "used_percent must be between 0 and 100"),
    ("gpu.memory.fill", {"used_percent": 101}, "used_percent must be between 0 and 100"),
    ("gpu.memory.fill", {"used_percent": "92"}, "used_percent must be a number"),
    ("gpu.memory.fill", {"used_percent": True}, "used_percent must be a number"),
    ("gpu.memory.fill", {"leave_free_mib": -1}, "leave_free_mib must be between 0"),
    ("gpu.memory.fill", {"leave_free_mib": 1.5}, "leave_free_mib must be a whole number"),
    ("gpu.memory.fill", {"used_percent": 50, "managed": True}, "has no parameter managed"),
    ("gpu.memory.leak", {}, "rate_mib_s must be a number"),
    ("gpu.memory.leak", {"rate_mib_s": 0}, "rate_mib_s must be at least 0.5"),
    ("gpu.memory.leak", {"rate_mib_s": -400}, "memory that shrinks is no leak"),
    ("gpu.memory.leak", {"rate_mib_s": 0.1}, "rate_mib_s must be at least 0.5"),
    ("gpu.memory.leak", {"rate_mib_s": 1, "leave_free_percent": 101}, "leave_free_percent must be between"),
    ("gpu.memory.leak", {"rate_mib_s": 1, "leave_free_percent": -1}, "leave_free_percent must be between"),
    ("gpu.memory.leak", {"rate_mib_s": 1, "ceiling_mib": 0}, "ceiling_mib must be between"),
    ("gpu.clock.lock", {}, "min_mhz must be a whole number"),
    ("gpu.clock.lock", {"mhz": 0}, "mhz must be between 1"),
    ("gpu.clock.lock", {"mhz": 900, "min_mhz": 800}, "either mhz, or min_mhz and max_mhz"),
    ("gpu.clock.lock", {"min_mhz": 900, "max_mhz": 800}, "min_mhz 900 is over max_mhz 800"),
    ("gpu.clock.lock", {"mhz": 900, "prior_lock": {"min_mhz": 1}}, "max_mhz must be a whole number"),
    ("gpu.clock.lock", {"mhz": 900, "prior_lock": {"mhz": 1}}, "prior_lock has no parameter mhz"),
    ("gpu.power.cap", {}, "watts must be a whole number"),
    ("gpu.power.cap", {"watts": 0}, "watts must be between 1"),
    ("gpu.power.cap", {"watts": -300}, "watts must be between 1"),
    ("gpu.power.cap", {"watts": 300.5}, "watts must be a whole number"),
    ("gpu.compute_mode.set", {}, "mode must be a text"),
    ("gpu.compute_mode.set", {"mode": "exclusive"}, "mode must be prohibited or exclusive_process"),
    ("gpu.compute_mode.set", {"mode": "prohibited", "squatter": True}, "squatter goes with mode exclusive_process"),
    ("gpu.compute_mode.set", {"mode": "prohibited", "squatter": 1}, "squatter must be true or false"),
    ("gpu.persistence.off", {"prior_lock": 900}, "prior_lock must be an object"),
    ("gpu.burn", {"duty_percent": 0}, "duty_percent must be at least 1"),
    ("gpu.burn", {"duty_percent": 101}, "duty_percent must be between"),
    ("gpu.process.kill", {"pid": 7}, "restored_by must name what brings the service back"),
    ("gpu.process.kill", {**BACK}, "either pid or user"),
    ("gpu.process.kill", {"pid": 7, "user": "root", **BACK}, "either pid or user"),
    ("gpu.process.kill", {"pid": 1, **BACK}, "pid must be between 2"),
    ("gpu.process.kill", {"pid": 7, "signal": "HUP", **BACK}, "signal must be KILL or TERM"),
    ("gpu.process.kill", {"pid": 7, "back_within_s": 0, **BACK}, "back_within_s must be between 1"),
    ("gpu.process.kill", {"pid": 7, "restored_by": {}}, "either command or unit"),
    ("gpu.process.kill", {"pid": 7, "restored_by": {"command": "systemctl start x"}}, "must be a list of texts"),
    ("gpu.process.kill", {"pid": 7, "restored_by": {"command": []}}, "must be a list of texts"),
    ("gpu.process.kill", {"pid": 7, "restored_by": {"command": ["systemctl"]}}, "must begin with an absolute path"),
    ("gpu.process.kill", {"pid": 7, "restored_by": {"unit": "x; reboot"}}, "must be the name of a systemd unit"),
    ("gpu.process.stop", {"user": "nobody-of-that-name"}, "There is no user"),
    ("gpu.process.stop", {}, "either pid or user"),
]

GOOD: dict[str, JsonObject] = {
    "gpu.memory.fill": {"used_percent": 100},
    "gpu.memory.leak": {"rate_mib_s": 0.5},
    "gpu.clock.lock": {"mhz": 900},
    "gpu.power.cap": {"watts": 300},
    "gpu.compute_mode.set": {"mode": "prohibited"},
    "gpu.persistence.off": {},
    "gpu.burn": {},
    "gpu.process.kill": {"pid": 7, **BACK},
    "gpu.process.stop": {"pid": 7},
}


def test_every_fault_of_gpus_has_good_values_here() -> None:
    """Those of units are with their actions."""
    assert list(GOOD) == [fault for fault in REGISTRY if fault.startswith("gpu.")]


@pytest.mark.parametrize(("fault", "raw", "sentence"), BAD, ids=[f"{fault}-{raw}" for fault, raw, _ in BAD])
def test_a_bad_value_is_refused_with_a_sentence(fault: str, raw: JsonObject, sentence: str) -> None:
    said = refusal(fault, {**GPU, **raw})
    assert sentence in said
    assert said.endswith(".")


@pytest.mark.parametrize("fault", list(GOOD))
def test_the_gpu_must_be_named_and_an_index_needs_a_word(fault: str) -> None:
    good = GOOD[fault]
    REGISTRY[fault].parse({**GPU, **good})
    REGISTRY[fault].parse({"gpu": "0", "allow_index": True, **good})
    assert "gpu must be a text" in refusal(fault, good)
    assert "gpu must be a text" in refusal(fault, {"gpu": "", **good})
    assert "indices change" in refusal(fault, {"gpu": "0", **good})
    assert "indices change" in refusal(fault, {"gpu": 0, **good})
    assert "allow_index must be true or false" in refusal(fault, {"gpu": "0", "allow_index": "yes", **good})


@pytest.mark.parametrize("fault", list(REGISTRY))
def test_a_misspelt_parameter_is_not_ignored(fault: str) -> None:
    good: JsonObject = {**GPU, **GOOD[fault]} if fault in GOOD else {}
    assert "has no parameter usedpercent" in refusal(fault, {**good, "usedpercent": 1})


@pytest.mark.parametrize("fault", list(REGISTRY))
def test_every_fault_says_what_it_is(fault: str) -> None:
    one = REGISTRY[fault]
    assert one.plane in ("signal", "state", "effect")
    assert one.tier in ("T1", "T2")
    assert one.fidelity in ("exact", "default", "restart")
    assert one.privilege in ("root", "user")
    assert one.deadline_class in ("fast", "slow")
    assert all(text for text in (one.summary, one.refuses, one.traps))
