# SPDX-License-Identifier: Apache-2.0
"""What the agent reads of the card is what NVIDIA's own program says, and what cannot be read is said to be unknown."""

import inspect
import time
from typing import Any

import pytest

from chaosgpu.agent.readings.catalogue import GPU_KEYS, readings
from chaosgpu.errors import ReadingUnknown
from chaosgpu.gpu import probes
from gpu import notes, smi
from gpu.card import Card

# Reading, value, field of nvidia-smi, and how far apart two looks may be: settings and names are equal, and what moves
# by itself may move between the two looks (a degree or two of sensor noise, and power between one sample and the next).
SAME: tuple[tuple[str, str, str, float | None], ...] = (
    ("gpu.memory", "total_mib", "memory.total", 1),
    ("gpu.memory", "reserved_mib", "memory.reserved", 1),
    ("gpu.memory", "used_mib", "memory.used", 2),
    ("gpu.memory", "free_mib", "memory.free", 2),
    ("gpu.power", "limit_watts", "power.limit", 0.01),
    ("gpu.power", "default_limit_watts", "power.default_limit", 0.01),
    ("gpu.power", "min_limit_watts", "power.min_limit", 0.01),
    ("gpu.power", "max_limit_watts", "power.max_limit", 0.01),
    ("gpu.power", "watts", "power.draw", 15),
    ("gpu.clocks", "max_sm_mhz", "clocks.max.sm", 0),
    ("gpu.clocks", "max_memory_mhz", "clocks.max.mem", 0),
    ("gpu.temperature", "celsius", "temperature.gpu", 3),
    ("gpu.temperature", "memory_celsius", "temperature.memory", 3),
    ("gpu.pcie", "max_generation", "pcie.link.gen.max", 0),
    ("gpu.pcie", "max_width", "pcie.link.width.max", 0),
    ("gpu.ecc", "uncorrected_volatile", "ecc.errors.uncorrected.volatile.total", 0),
    ("gpu.ecc", "uncorrected_aggregate", "ecc.errors.uncorrected.aggregate.total", 0),
    ("gpu.ecc", "corrected_volatile", "ecc.errors.corrected.volatile.total", 0),
    ("gpu.ecc", "corrected_aggregate", "ecc.errors.corrected.aggregate.total", 0),
    ("gpu.remapped_rows", "corrected", "remapped_rows.correctable", 0),
    ("gpu.remapped_rows", "uncorrected", "remapped_rows.uncorrectable", 0),
)
WORDS = {"Enabled": True, "Disabled": False, "Yes": True, "No": False}
NOT_OF_A_GPU = {"fleet.facts", "unit.state", "residue", "gpu.count", "gpu.versions"}


def test_every_reading_of_the_gpu_answers_or_says_why_not(card: Card) -> None:
    known = unknown = 0
    answers: dict[str, Any] = {}
    failed = []
    for name, one in readings().items():
        if name in {"unit.state", "fleet.facts"}:
            continue
        params = {"gpu": card.uuid} if one.keys >= GPU_KEYS else {}
        start = time.monotonic()
        answer = card.ask("read", reading=name, params=params)
        answers[name] = {"took_s": round(time.monotonic() - start, 3), **answer}
        if "error" in answer:
            failed.append(name)
            continue
        if params:  # what is unknown of the host says nothing of the card
            known += len(answer["values"])
            unknown += len(answer["unknown"])
        both = set(answer["values"]) & set(answer["unknown"])
        assert both == set(), f"{name} knows {both} and does not"
        assert all(isinstance(why, str) and why for why in answer["unknown"].values())
    notes.keep("readings", answers)
    notes.shown("readings taken", len(answers))
    notes.shown("values that the readings of the card gave", known)
    notes.shown("values that are unknown on this card, each with its reason", unknown)
    notes.equals("readings that failed", len(failed), 0)


def test_the_readings_are_what_nvidia_smi_says(card: Card) -> None:
    said = smi.ask_all(card.uuid)
    compared, differ, left_out, rows = 0, [], [], {}
    for reading in sorted({reading for reading, *_ in SAME}):
        answer = card.ask("read", reading=reading, params={"gpu": card.uuid})
        now = smi.ask_all(card.uuid)
        for _, value, field, apart in (row for row in SAME if row[0] == reading):
            ours, theirs = answer.get("values", {}).get(value), now[field]
            rows[f"{reading} {value}"] = [ours, theirs]
            try:
                same = abs(float(ours) - float(theirs or "")) <= (apart or 0)
            except (TypeError, ValueError):
                # Neither has it: nvidia-smi writes [N/A], we say why it is unknown.
                if ours is None and (theirs is None or "N/A" in theirs or "Not" in theirs):
                    continue
                if theirs is None:
                    left_out.append(field)
                    continue
                same = False
            compared += 1
            if not same:
                differ.append(f"{reading} {value}: {ours} and {theirs}")
    facts = card.ask("read", reading="fleet.facts", params={})
    whole: dict[str, Any] = next(iter(facts["values"]["gpus"].values()), {}) if "values" in facts else {}
    told: tuple[tuple[object, object], ...] = (
        (whole.get("vbios"), said["vbios_version"]),
        (whole.get("pci_bus_id"), said["pci.bus_id"]),
        (whole.get("product"), said["name"]),
        (whole.get("serial"), said["serial"]),
        (whole.get("compute_capability"), said["compute_cap"]),
        (whole.get("persistence"), WORDS.get(str(said["persistence_mode"]))),
        (whole.get("ecc"), WORDS.get(str(said["ecc.mode.current"]))),
        (whole.get("mig"), WORDS.get(str(said["mig.mode.current"]))),
    )
    rows["facts"] = [list(pair) for pair in told]
    compared += len(told)
    differ += [f"{ours} and {theirs}" for ours, theirs in told if ours != theirs]
    notes.keep("nvidia-smi", said)
    notes.keep("compared", {"rows": rows, "differ": differ, "left out": left_out})
    notes.shown("values compared with nvidia-smi", compared)
    notes.equals("values that differ from nvidia-smi", "; ".join(differ) or "none", "none")


def test_facts_and_doctor_answer_and_name_the_driver_that_nvidia_smi_names(card: Card) -> None:
    facts, doctor = card.ask("facts"), card.ask("doctor")
    fleet = card.ask("read", reading="fleet.facts", params={})
    notes.keep("facts", facts)
    notes.keep("fleet.facts", fleet)
    notes.keep("doctor", doctor)
    assert "error" not in facts, facts
    assert "error" not in doctor, doctor
    assert "error" not in fleet, fleet
    driver = smi.ask(card.uuid, "driver_version")
    notes.equals("driver version of facts", str(facts["driver"]["driver"]), str(driver))
    assert [gpu["uuid"] for gpu in facts["gpus"]][:1] == [card.uuid]
    checks = {check["name"]: check for check in doctor["checks"]}
    notes.shown("doctor: checks", len(checks))
    notes.shown("doctor: not well", len([1 for check in checks.values() if check["ok"] is False]))
    assert checks["driver"]["ok"] is True, checks["driver"]["detail"]
    assert checks[f"GPU {card.uuid}"]["ok"] is True, checks[f"GPU {card.uuid}"]["detail"]


@pytest.mark.timeout(100)
def test_every_probe_gives_a_value_or_says_that_it_is_unknown(card: Card) -> None:
    values: dict[str, object] = {}
    unknown: dict[str, str] = {}
    broke: dict[str, str] = {}
    for name in probes.__all__:
        function = getattr(probes, name)
        wanted = inspect.signature(function).parameters
        given = {key: value for key, value in (("gpu", card.uuid), ("window_s", 1.0)) if key in wanted}
        try:
            values[name] = function(**given)
        except ReadingUnknown as error:
            unknown[name] = str(error)
        except Exception as error:  # noqa: BLE001 (each other error is counted, and fails the test below)
            broke[name] = f"{type(error).__name__}: {error}"
    notes.keep("probes", {"values": values, "unknown": unknown, "broke": broke})
    notes.shown("probes that gave a value", len(values))
    notes.shown("probes that said unknown", ", ".join(sorted(unknown)) or "none")
    assert None not in values.values()
    notes.equals("probes that broke", "; ".join(f"{name}: {why}" for name, why in broke.items()) or "none", "none")
