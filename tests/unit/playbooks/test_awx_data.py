# SPDX-License-Identifier: Apache-2.0
"""The configuration data for AWX: keys that its collection knows, references that lead somewhere, guards that stand."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

AWX = Path(__file__).parents[3] / "playbooks/awx"

# What the roles of infra.aap_configuration read, by the README of each (read on the revision of 2026-11).
_COMMON = {"name", "organization", "description", "state"}
_SURVEYED = {"survey_enabled", "survey_spec", "ask_variables_on_launch", "ask_limit_on_launch", "allow_simultaneous"}
KEYS: dict[str, set[str]] = {
    "controller_projects": {
        "scm_type", "scm_url", "scm_branch", "scm_clean", "scm_update_on_launch", "default_environment",
    },
    "controller_execution_environments": {"image", "pull"},
    "controller_inventories": set(),
    "controller_inventory_sources": {
        "inventory", "source", "source_project", "source_path", "overwrite", "overwrite_vars", "update_on_launch",
    },
    "controller_credential_types": {"kind", "inputs", "injectors"},
    "controller_credentials": {"credential_type", "inputs"},
    "controller_templates": _SURVEYED | {
        "job_type", "project", "playbook", "inventory", "execution_environment", "credentials", "timeout",
        "job_slice_count", "prevent_instance_group_fallback", "diff_mode", "become_enabled", "extra_vars",
    },
    "controller_workflows": _SURVEYED | {"simplified_workflow_nodes"},
    "controller_schedules": {"unified_job_template", "rrule", "extra_data", "enabled"},
}  # fmt: skip
NODE = {
    "identifier", "unified_job_template", "lookup_organization", "extra_data", "approval_node", "success_nodes",
    "failure_nodes", "always_nodes", "all_parents_must_converge",
}  # fmt: skip
QUESTION = {
    "question_name", "question_description", "variable", "type", "required", "min", "max", "choices", "default",
}  # fmt: skip
TYPES = {"text", "integer", "multiplechoice"}


class _Loader(yaml.SafeLoader):
    """Knows the one tag that Ansible adds."""


def _unsafe(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> object:
    return loader.construct_scalar(node)


_Loader.add_constructor("!unsafe", _unsafe)


def _data() -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(AWX.glob("*.yml")):
        if path.name != "execution-environment.yml":
            found |= yaml.load(path.read_text(), Loader=_Loader)  # noqa: S506 (a safe loader)
    return found


DATA = _data()


def _named(kind: str) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in DATA[kind]}


def _surveys() -> Iterator[tuple[str, dict[str, Any]]]:
    for one in (*DATA["controller_templates"], *DATA["controller_workflows"]):
        yield one["name"], one["survey_spec"]


@pytest.mark.parametrize("kind", KEYS)
def test_every_object_has_keys_that_its_role_reads_and_a_name_of_its_own(kind: str) -> None:
    assert DATA.keys() == KEYS.keys()
    for one in DATA[kind]:
        assert one.keys() <= KEYS[kind] | _COMMON, one["name"]
    assert len(_named(kind)) == len(DATA[kind])


def test_every_reference_leads_to_an_object_and_every_playbook_is_there() -> None:
    templates = _named("controller_templates")
    for one in templates.values():
        assert one["project"] in _named("controller_projects")
        assert one["inventory"] in _named("controller_inventories")
        assert one["execution_environment"] in _named("controller_execution_environments")
        assert {*one["credentials"]} <= _named("controller_credentials").keys()
        assert (AWX.parents[1] / one["playbook"]).is_file()
    for one in DATA["controller_schedules"]:
        assert one["unified_job_template"] in templates | _named("controller_workflows")
    for one in DATA["controller_inventory_sources"]:
        assert one["inventory"] in _named("controller_inventories")
        assert one["source_project"] in _named("controller_projects")


def test_every_question_asks_for_a_variable_of_the_playbook_and_has_an_answer_of_its_type() -> None:
    read = "".join((AWX.parent / f"{name}.yml").read_text() for name in ("drill", "planned_drill", "janitor"))
    for name, survey in _surveys():
        assert survey.keys() == {"name", "description", "spec"}
        for question in survey["spec"]:
            assert question.keys() <= QUESTION, name
            assert question["type"] in TYPES
            assert re.search(rf"\b{question['variable']}\b", read), question["variable"]
            if question["type"] == "integer":
                assert question["min"] <= question["default"] <= question["max"]
            if question["type"] == "multiplechoice":
                assert question["default"] in question["choices"]


def test_what_a_schedule_or_a_node_sets_is_asked_for_by_its_template() -> None:
    asked = {name: {one["variable"]: one for one in survey["spec"]} for name, survey in _surveys()}
    for one in DATA["controller_schedules"]:
        questions = asked[one["unified_job_template"]]
        given = one.get("extra_data", {})
        assert given.keys() <= questions.keys()
        assert not {name for name, question in questions.items() if question["required"]} - given.keys()
        for name, value in given.items():
            assert value in questions[name].get("choices", [value])
    for workflow in DATA["controller_workflows"]:
        for node in workflow["simplified_workflow_nodes"]:
            if "extra_data" in node:
                assert node["extra_data"].keys() <= asked[node["unified_job_template"]].keys()


def test_in_a_workflow_nothing_is_broken_before_an_approval_and_the_janitor_comes_whatever_happened() -> None:
    for workflow in DATA["controller_workflows"]:
        nodes = {node["identifier"]: node for node in workflow["simplified_workflow_nodes"]}
        for node in nodes.values():
            assert node.keys() <= NODE
            for key in ("success_nodes", "failure_nodes", "always_nodes"):
                assert {*node.get(key, [])} <= nodes.keys()
        for name, node in nodes.items():
            if node.get("extra_data", {}).get("chaosgpu_dry_run") == "no":
                parents = [one for one in nodes.values() if name in one.get("success_nodes", [])]
                assert parents
                assert all("approval_node" in parent for parent in parents)
                assert [nodes[one]["unified_job_template"] for one in node["always_nodes"]] == ["GPU janitor"]


def test_no_job_is_sliced_or_doubled_and_the_janitor_waits_longer_than_a_drill_may_last() -> None:
    templates = _named("controller_templates")
    for one in templates.values():
        assert (one["allow_simultaneous"], one["job_slice_count"]) == (False, 1)
        assert one["timeout"] > 0
    longest = int(templates["GPU janitor"]["extra_vars"]["chaosgpu_longest_drill_minutes"])
    assert longest * 60 > templates["GPU drill"]["timeout"]


def test_no_secret_stands_in_the_data() -> None:
    for path in AWX.glob("*.yml"):
        for line in path.read_text().splitlines():
            if re.search(r"(?i)password|ssh_key_data|token", line) and not line.lstrip().startswith("#"):
                assert re.search(r"\{\{ \w+ \}\}|type: string|\"\"", line), line


def test_the_execution_environment_has_what_a_drill_needs_and_only_keys_of_version_three() -> None:
    found = yaml.safe_load((AWX / "execution-environment.yml").read_text())
    assert found["version"] == 3
    assert found.keys() <= {"version", "images", "dependencies", "options", "additional_build_steps"}
    needs = found["dependencies"]
    assert needs.keys() <= {"python_interpreter", "ansible_core", "ansible_runner", "python", "system", "galaxy"}
    assert "chaostoolkit-gpu[fleet]" in needs["python"]
    assert any("openssh" in one for one in needs["system"])
