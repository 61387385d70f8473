# SPDX-License-Identifier: Apache-2.0
"""What lint asks of an experiment that breaks something through this package."""

from pathlib import Path

import pytest
from chaoslib.experiment import ensure_experiment_is_valid
from chaoslib.loader import load_experiment

from chaosgpu.lint import Finding, lint, parse
from unit.lint.writing import Json, as_text, clean

FAULT: Json = {
    "name": "fill the memory",
    "type": "action",
    "provider": {
        "type": "python",
        "module": "chaosgpu.gpu.actions",
        "func": "fill_memory",
        "arguments": {"gpu": "GPU-5c0ffee0-0000-0000-0000-000000000000", "used_percent": 92, "duration_s": 20},
    },
}
GUARD_MODULE = "chaosgpu.controls.guard"
GUARD: Json = {"name": "guard", "provider": {"type": "python", "module": GUARD_MODULE}}
UNDO: Json = {
    "name": "undo everything of this run",
    "type": "action",
    "provider": {"type": "python", "module": "chaosgpu.lease.actions", "func": "undo_all"},
}


def _triton(function: str, model: str) -> Json:
    arguments: Json = {"url": "http://127.0.0.1:8000", "model": model}
    provider = {"type": "python", "module": "chaosgpu.triton.actions", "func": function, "arguments": arguments}
    return {"name": f"{function} {model}", "type": "action", "provider": provider}


def found(rules: set[str], **changed: object) -> list[Finding]:
    """Lint an experiment with a fault, the guard and the undo, some of its keys replaced."""
    whole = {"method": [FAULT], "controls": [GUARD], "rollbacks": [UNDO]} | changed
    document = parse(as_text(clean(**whole)), is_json=True)
    return [finding for finding in lint(document) if finding.rule in rules]


def test_a_fault_with_guard_and_undo_is_clean() -> None:
    assert found({"no-guard", "no-undo", "background-fault", "wrong-type", "argument-type", "argument-name"}) == []


def test_chaos_validate_takes_that_experiment_too_and_takes_it_without_guard_and_undo(tmp_path: Path) -> None:
    path = tmp_path / "experiment.json"
    variants: list[Json] = [{}, {"controls": [], "rollbacks": []}]
    for changed in variants:
        whole = {"method": [FAULT], "controls": [GUARD], "rollbacks": [UNDO]} | changed
        path.write_text(as_text(clean(**whole)))
        ensure_experiment_is_valid(load_experiment(str(path)))


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("used_percent", "92", "used_percent of fill_memory must be a number or null"),
        ("gpu", 0, "gpu of fill_memory must be a text"),
        ("duration_s", True, "duration_s of fill_memory must be a number"),
        ("used_percnt", 92, "fill_memory has no argument 'used_percnt'"),
    ],
)
def test_an_argument_of_the_wrong_type_or_name_is_found(key: str, value: object, says: str) -> None:
    provider = FAULT["provider"]
    assert isinstance(provider, dict)
    broken = FAULT | {"provider": provider | {"arguments": provider["arguments"] | {key: value}}}
    [finding] = found({"argument-type", "argument-name"}, method=[broken])
    assert finding.pointer == f"/method/0/provider/arguments/{key}"
    assert says in finding.message


def test_a_fault_without_the_guard_is_found() -> None:
    [finding] = found({"no-guard"}, controls=[])
    assert finding.pointer == "/controls"
    assert "'fill the memory'" in finding.message


def test_a_guard_at_an_activity_does_not_count() -> None:
    [finding] = found({"no-guard"}, controls=[], method=[FAULT | {"controls": [GUARD]}])
    assert finding.pointer == "/method/0/controls/0"


@pytest.mark.parametrize(("key", "value"), [("scope", "before"), ("scope", "after"), ("automatic", False)])
def test_a_guard_of_which_a_part_is_switched_off_is_found(key: str, value: object) -> None:
    [finding] = found({"no-guard"}, controls=[GUARD | {key: value}])
    assert finding.pointer == f"/controls/0/{key}"


@pytest.mark.parametrize(
    ("stop_when", "says"),
    [
        ("elapsed(", "cannot be read"),
        ("gpu_hot(90)", "There is no stop condition 'gpu_hot'"),
        ("canary_wrong_for(5)", "has 0 canaries"),
        ({"any": []}, "at least one condition"),
    ],
)
def test_stop_conditions_that_the_guard_would_refuse_are_found(stop_when: object, says: str) -> None:
    guard = {**GUARD, "provider": {"type": "python", "module": GUARD_MODULE, "arguments": {"stop_when": stop_when}}}
    [finding] = found({"stop-condition", "control-arguments"}, controls=[guard])
    assert finding.pointer == "/controls/0/provider/arguments/stop_when"
    assert says in finding.message


def test_right_stop_conditions_and_those_that_only_the_run_knows_are_not_found() -> None:
    for stop_when in ("elapsed(60) | gpu_xid([31])", "elapsed(${only_the_run_knows})"):
        guard = {**GUARD, "provider": {"type": "python", "module": GUARD_MODULE, "arguments": {"stop_when": stop_when}}}
        assert found({"stop-condition", "control-arguments"}, controls=[guard]) == []


def test_a_fault_without_an_undo_is_found() -> None:
    other = UNDO | {"provider": {"type": "process", "path": "true", "timeout": 1}}
    [finding] = found({"no-undo"}, rollbacks=[other])
    assert finding.pointer == "/method/0"
    assert "undo_all" in finding.advice


def test_an_undo_in_the_method_is_no_rollback() -> None:
    [finding] = found({"no-undo"}, method=[FAULT, UNDO], rollbacks=[])
    assert finding.pointer == "/method/0"


def test_a_rollback_that_refers_to_an_undo_in_the_method_counts() -> None:
    assert found({"no-undo"}, method=[FAULT, UNDO], rollbacks=[{"ref": UNDO["name"]}]) == []


def test_an_undo_in_the_background_is_found() -> None:
    [finding] = found({"no-undo"}, rollbacks=[UNDO | {"background": True}])
    assert finding.pointer == "/rollbacks/0/background"


def test_a_fault_in_the_background_is_found() -> None:
    [finding] = found({"background-fault"}, method=[FAULT | {"background": True}])
    assert finding.pointer == "/method/0/background"


def test_a_fault_labelled_as_a_probe_is_found() -> None:
    [finding] = found({"wrong-type"}, method=[FAULT | {"type": "probe"}])
    assert "dry run" in finding.message


def test_a_guard_without_an_undo_is_found_since_the_guard_refuses_that() -> None:
    [finding] = found({"no-undo"}, method=[], rollbacks=[])
    assert finding.pointer == "/rollbacks"


@pytest.mark.parametrize(("breaks", "undo"), [("unload_model", "load_model"), ("override_config", "restore_config")])
def test_a_change_of_a_model_needs_its_own_undo_for_the_same_model(breaks: str, undo: str) -> None:
    changed, put_back = _triton(breaks, "chat"), _triton(undo, "chat")
    assert found({"no-undo", "no-guard"}, method=[changed], rollbacks=[put_back, UNDO]) == []
    [finding] = found({"no-undo"}, method=[changed], rollbacks=[UNDO])
    assert (finding.pointer, undo in finding.message) == ("/method/0", True)
    [finding] = found({"no-undo"}, method=[changed], rollbacks=[_triton(undo, "other"), UNDO])
    assert "'chat'" in finding.message


def test_putting_a_model_back_is_no_fault() -> None:
    method = [_triton("load_model", "chat")]
    assert found({"no-undo", "no-guard"}, method=method, controls=[], rollbacks=[]) == []


def test_an_experiment_without_faults_of_ours_needs_no_guard() -> None:
    assert found({"no-guard", "no-undo"}, method=[], controls=[], rollbacks=[]) == []


def test_a_strategy_is_not_asked_of_an_experiment_that_changes_nothing() -> None:
    assert found({"rollback-strategy"}, method=[], rollbacks=[], runtime={}) == []
    [finding] = found({"rollback-strategy"}, runtime={})
    assert finding.level == "error"


def _playbook(**arguments: object) -> Json:
    given = {"playbook": "p.yml", **arguments}
    provider = {"type": "python", "module": "chaosgpu.fleet.actions", "func": "run_playbook", "arguments": given}
    return {"name": "play it", "type": "action", "provider": provider}


@pytest.mark.parametrize(
    ("arguments", "levels"),
    [({}, ["error"]), ({"no_undo": True}, ["warning"]), ({"check": True}, []), ({"undo_playbook": "u.yml"}, [])],
)
def test_a_playbook_that_nothing_undoes_is_found(arguments: Json, levels: list[str]) -> None:
    assert [one.level for one in found({"no-undo"}, method=[_playbook(**arguments)])] == levels


@pytest.mark.parametrize(
    ("plan", "controls", "says"),
    [
        ({}, [{}], ""),
        ({}, [], "nothing would play it"),
        ({}, [{"scope": "before"}], "a half of the lifecycle would not be played"),
        (None, [{}], "The lifecycle control has nothing to play"),
        ({"steps": ["pin"]}, [{}], "steps has pin without snapshot"),
        ({"within_s": "${span}"}, [{}], ""),  # what only the run has is not judged
    ],
)
def test_a_plan_and_its_control_belong_together(plan: Json | None, controls: list[Json], says: str) -> None:
    control = {"name": "lifecycle", "provider": {"type": "python", "module": "chaosgpu.controls.lifecycle"}}
    configuration = {"url": "u", "span": {"type": "env", "key": "SPAN"}}
    configuration |= {} if plan is None else {"chaosgpu_lifecycle": plan}
    every = [GUARD, *(control | changes for changes in controls)]
    messages = [one.message for one in found({"lifecycle-plan"}, configuration=configuration, controls=every)]
    assert len(messages) == bool(says)
    assert all(says in message for message in messages)
