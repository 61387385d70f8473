# SPDX-License-Identifier: Apache-2.0
"""The verbs read, facts and doctor through the agent's own entry, against their schemas."""

import json
from importlib import resources
from typing import Any

import jsonschema
import pytest

from chaosgpu.agent.faults.registry import REGISTRY
from chaosgpu.agent.readings.catalogue import readings
from chaosgpu.sim.instance import Instance
from unit.readings.conftest import MakeAgent, MakeGpus, uuid_of


def schema(verb: str) -> dict[str, Any]:
    text = (resources.files("chaosgpu.agent") / "schemas" / f"{verb}.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def check(verb: str, answer: dict[str, Any]) -> None:
    jsonschema.validate(answer, schema(verb)["answer"], cls=jsonschema.Draft202012Validator)


def gate(instance: Instance, name: str) -> dict[str, object]:
    asked: dict[str, object] = {"gpu": uuid_of(instance), "unit": "triton.service"}
    return {key: value for key, value in asked.items() if key in readings()[name].keys}


@pytest.mark.parametrize("verb", ["read", "facts", "doctor"])
def test_the_schema_is_one(verb: str) -> None:
    for part in ("request", "answer"):
        jsonschema.Draft202012Validator.check_schema(schema(verb)[part])


def test_the_schema_of_read_names_every_reading_and_parameter() -> None:
    asked = schema("read")["request"]["properties"]
    assert asked["reading"]["enum"] == sorted(readings())
    assert set(asked["params"]["properties"]) == set().union(*(reading.keys for reading in readings().values()))


@pytest.mark.parametrize("profile", ["h100", "t4", "geforce"])
def test_every_reading_answers_as_its_schema_says(profile: str, make_gpus: MakeGpus, make_agent: MakeAgent) -> None:
    gpus = make_gpus(profile, 1)
    agent = make_agent(gpus)
    for name in readings():
        request = {"reading": name, "params": gate(gpus, name)}
        jsonschema.validate({"protocol": 1, **request}, schema("read")["request"])
        answer = agent.ask("read", **request)
        check("read", answer)
        assert answer["reading"] == name
        assert answer["values"] or answer["unknown"]
        assert not set(answer["values"]) & set(answer["unknown"])


def test_facts_name_the_host_its_library_and_its_gpus(make_gpus: MakeGpus, make_agent: MakeAgent) -> None:
    gpus = make_gpus(gpus=3)
    gpus.inject("lost", 1)
    answer = make_agent(gpus).ask("facts")
    check("facts", answer)
    assert answer["library"]["simulator"] == gpus.document()["system"]["identity"]["instance"]
    assert [gpu["index"] for gpu in answer["gpus"]] == [0, 1, 2]
    assert answer["gpus"][0]["memory_total_mib"] == 81559
    assert answer["gpus"][1]["code"] == 15


@pytest.mark.parametrize(
    ("injected", "sentence"),
    [(None, "install the NVIDIA driver"), ("driver_unloaded", "modprobe nvidia"), ("version_mismatch", "reboot")],
)
def test_without_a_driver_facts_and_read_fail_with_one_sentence(
    injected: str | None, sentence: str, make_gpus: MakeGpus, make_agent: MakeAgent
) -> None:
    gpus = make_gpus() if injected else None
    if gpus is not None and injected is not None:
        gpus.inject(injected)
    agent = make_agent(gpus)
    for verb, request in (("facts", {}), ("read", {"reading": "gpu.count"})):
        answer = agent.ask(verb, **request)
        assert answer["error"]["kind"] == "driver"
        assert sentence in answer["error"]["message"]


def checks_of(answer: dict[str, Any]) -> dict[str, tuple[bool | None, str]]:
    check("doctor", answer)
    return {one["name"]: (one["ok"], one["detail"]) for one in answer["checks"]}


def test_doctor_finds_everything_well_on_a_sound_host(make_gpus: MakeGpus, make_agent: MakeAgent) -> None:
    gpus = make_gpus()
    found = checks_of(make_agent(gpus).ask("doctor"))
    ours = {
        name: found.pop(name)
        for name in [*found]
        if name.startswith(("fault unit.", "fault package.", "fault library.", "fault disk."))
    }
    assert all(ok is not False for ok, _ in found.values())
    assert ours.keys() == {f"fault {name}" for name in REGISTRY if not name.startswith(("gpu.", "selfdrill."))}
    assert all(ok is False and "host is touched" in detail for ok, detail in ours.values()), ours
    assert found["driver"][0] is True
    assert "simulated GPUs, instance sim-" in found["library"][1]
    assert found["policy"][1] == "It permits gpu.* for at most 600 s."
    assert found[f"GPU {uuid_of(gpus)}"] == (
        True,
        "NVIDIA H100 80GB HBM3 at 00000000:1B:00.0: nothing is known to be wrong with it.",
    )
    assert {name for name in found if name.startswith("fault gpu.")} >= {"fault gpu.memory.fill", "fault gpu.power.cap"}


def test_doctor_tells_a_missing_library_and_goes_on(make_agent: MakeAgent) -> None:
    found = checks_of(make_agent(None).ask("doctor"))
    assert found["driver"][0] is False
    assert "install the NVIDIA driver" in found["driver"][1]
    assert found["policy"][0] is True
    assert "library" not in found


def test_doctor_tells_which_gpu_is_unhealthy_and_which_is_lost(make_gpus: MakeGpus, make_agent: MakeAgent) -> None:
    gpus = make_gpus(gpus=3)
    gpus.set(0, remap_pending=1)
    gpus.inject("lost", 1)
    found = checks_of(make_agent(gpus).ask("doctor"))
    assert found[f"GPU {uuid_of(gpus, 0)}"][0] is False
    assert "remap" in found[f"GPU {uuid_of(gpus, 0)}"][1]
    assert found["GPU with index 1"][0] is False
    assert found[f"GPU {uuid_of(gpus, 2)}"][0] is True


def test_doctor_tells_which_faults_the_policy_does_not_permit(make_gpus: MakeGpus, make_agent: MakeAgent) -> None:
    agent = make_agent(make_gpus())
    policy = agent.folder / "home" / "policy.json"
    policy.write_text('{"version": 1, "permit": ["gpu.memory.*"], "max_duration_s": 60}')
    found = checks_of(agent.ask("doctor"))
    assert found["fault gpu.memory.fill"][0] is True
    assert found["fault gpu.burn"][0] is None  # its owner's choice, and no defect
    assert "does not permit gpu.burn" in found["fault gpu.burn"][1]
    stop = found["fault unit.stop"]  # another reason besides is one
    assert (stop[0], "does not permit unit.stop" in stop[1], ";" in stop[1]) == (False, True, True)
    drill = found["fault selfdrill.file"]  # what nothing but a drill wants is no failure where it is not permitted
    assert (drill[0], "does not permit selfdrill.file" in drill[1]) == (None, True)
    policy.unlink()
    found = checks_of(agent.ask("doctor"))
    assert found["policy"][0] is False
    assert found["fault gpu.memory.fill"][0] is False


def test_doctor_tells_which_gpu_cannot_take_a_fault(make_gpus: MakeGpus, make_agent: MakeAgent) -> None:
    gpus = make_gpus()
    gpus.inject("return", 1, function="nvmlDeviceGetPowerManagementLimitConstraints", code=3)
    found = checks_of(make_agent(gpus).ask("doctor"))
    assert found[f"fault gpu.power.cap on GPU {uuid_of(gpus, 1)}"][0] is False
    assert f"fault gpu.power.cap on GPU {uuid_of(gpus, 0)}" not in found


def test_doctor_says_when_records_do_not_outlive_a_reboot(make_agent: MakeAgent) -> None:
    agent = make_agent(None)
    agent.environment["CHAOSGPU_AGENT_HOME"] = "/dev/shm/chaosgpu-test"  # type: ignore[index]  # noqa: S108 (never made)
    ok, detail = checks_of(agent.ask("doctor"))["state root"]
    assert ok is None
    assert "tmpfs: leases work, but their records do not outlive a reboot" in detail
