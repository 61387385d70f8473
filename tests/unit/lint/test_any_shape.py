# SPDX-License-Identifier: Apache-2.0
"""Lint answers to every document, whatever its shape: a wrong type somewhere is a finding or nothing, never a crash."""

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chaosgpu.lint import lint, parse
from chaosgpu.lint.nodes import escape
from unit.lint.writing import clean

WORDS = st.sampled_from(
    ["python", "probe", "range", "regex", "env", "process", "chaosgpu.controls.guard", "${url}", "${}", "", "a"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False, allow_infinity=False) | WORDS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "module", "func", "arguments", "range", "provider", "ref", "name", "dry", "~/", "x"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


def places(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """List the path of every value inside a document."""
    found = [path] if path else []
    items: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        items = [(str(key), item) for key, item in value.items()]
    elif isinstance(value, list):
        items = list(enumerate(value))
    return found + [one for key, item in items for one in places(item, (*path, key))]


FULL = clean(
    controls=[
        {"name": "c", "provider": {"type": "python", "module": "chaosgpu.controls.guard", "arguments": {"a": 1}}}
    ],
    secrets={"scope": {"key": {"type": "env", "key": "HOME"}}},
)


@given(where=st.sampled_from(places(FULL)), value=VALUES)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_value_at_any_place_is_linted_without_a_crash(where: tuple[str | int, ...], value: object) -> None:
    experiment = json.loads(json.dumps(FULL))
    holder = experiment
    for step in where[:-1]:
        holder = holder[step]
    holder[where[-1]] = value
    text = json.dumps(experiment)
    document = parse(text, is_json=True)
    for finding in lint(document):
        assert finding.message.endswith((".", "?"))
        assert finding.advice.endswith((".", "?"))
        assert finding.line is not None


@given(st.text(max_size=8))
@settings(max_examples=50, deadline=None)
def test_a_key_becomes_one_step_of_a_pointer(key: str) -> None:
    assert "/" not in escape(key)
    assert escape(key).replace("~1", "/").replace("~0", "~") == key
