# SPDX-License-Identifier: Apache-2.0
"""`chaos discover chaostoolkit-gpu` finds what the modules declare, from the wheel and from the working tree."""

import inspect
import json

import pytest

from chaosgpu.lint.values import fits
from support.declared import Declared, declared, is_optional
from support.installed import DISTRIBUTION, Installed

ACTIVITIES = declared()
IDS = [f"{one.module}.{one.name}" for one in ACTIVITIES]


@pytest.mark.parametrize("installed", ["from_wheel", "editable"])
def test_chaos_discover_finds_every_activity_with_its_types(installed: str, request: pytest.FixtureRequest) -> None:
    environment: Installed = request.getfixturevalue(installed)
    found = environment.folder / "discovery.json"
    environment.run(
        "-m", "chaostoolkit", "--no-version-check", "--no-log-file",
        "discover", "--no-install", "--discovery-path", str(found), DISTRIBUTION,
    )  # fmt: skip
    discovery = json.loads(found.read_text())
    seen = {
        (one["mod"], one["name"], one["type"]): [(arg["name"], arg.get("type")) for arg in one["arguments"]]
        for one in discovery["activities"]
    }
    assert seen == {(one.module, one.name, one.kind): one.arguments for one in ACTIVITIES}
    assert len(discovery["activities"]) == len(ACTIVITIES)
    assert {module for module, _, _ in seen} == {
        "chaosgpu.cuda.actions",
        "chaosgpu.cuda.probes",
        "chaosgpu.cuda.tolerances",
        "chaosgpu.fleet.actions",
    } | {
        f"chaosgpu.{area}.{kind}"
        for area in ("alerts", "gpu", "host", "lease", "metrics", "traffic", "triton", "vectordb")
        for kind in ("actions", "probes")
    }


def test_chaos_info_shows_the_extension_and_its_licence(from_wheel: Installed) -> None:
    shown = from_wheel.run("-m", "chaostoolkit", "--no-version-check", "--no-log-file", "info", "extensions")
    [line] = [line for line in shown.splitlines() if line.startswith(DISTRIBUTION)]
    assert "Apache-2.0" in line


@pytest.mark.parametrize("activity", ACTIVITIES, ids=IDS)
def test_each_argument_has_a_type_that_chaos_discover_can_name(activity: Declared) -> None:
    for name, parameter in activity.signature.parameters.items():
        assert parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD, f"{name} is hidden from discovery"
        assert not isinstance(parameter.annotation, str), f"{name} has a postponed type"
        assert parameter.annotation is not inspect.Parameter.empty, f"{name} has no type"
        if dict(activity.arguments)[name] == "object":
            assert is_optional(parameter.annotation), f"{name} is {parameter.annotation}"
            assert parameter.default is None, f"{name} may be null, but null is not its default"
        if parameter.default is not inspect.Parameter.empty:
            json.dumps(parameter.default)
            assert fits(parameter.default, parameter.annotation), f"{name} = {parameter.default!r}"
    assert activity.signature.return_annotation is not inspect.Signature.empty


@pytest.mark.parametrize("activity", ACTIVITIES, ids=IDS)
def test_each_activity_shows_an_example_that_works(activity: Declared) -> None:
    examples = list(activity.examples())
    assert examples, "its docstring has no JSON example"
    for example in examples:
        assert (example["activity"], example["type"]) == (activity.kind, "python")
        assert (example["module"], example["func"]) == (activity.module, activity.name)
        arguments = example.get("arguments", {})
        assert isinstance(arguments, dict)
        given: dict[str, object] = (
            {"value": {}} if activity.module.endswith(".tolerances") else {}
        )  # Chaos Toolkit hands it the answer
        activity.signature.bind(**given, **arguments)
        for name, value in arguments.items():
            if not (isinstance(value, str) and value.startswith("${")):
                assert fits(value, activity.signature.parameters[name].annotation), f"{name} = {value!r}"


def test_an_example_that_does_not_parse_is_no_example() -> None:
    broken = Declared("m", "n", "probe", inspect.signature(print), 'Reads.\n{"name": "x", "provider": {"type": }}\n')
    whole = Declared(
        "m", "n", "probe", inspect.signature(print), 'Reads.\n{"name": "x",\n "provider": {"func": "f"}}\nReturns {}.'
    )
    assert list(broken.examples()) == []
    assert list(whole.examples()) == [{"activity": None, "func": "f"}]
