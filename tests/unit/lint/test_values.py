# SPDX-License-Identifier: Apache-2.0
"""Which values fit which declared types."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Optional, TypedDict, Union

import pytest

from chaosgpu.lint.functions import exists
from chaosgpu.lint.values import describe, fits, only_of

type Json = dict[str, Json] | list[Json] | int | None
type Size = int


class Facts(TypedDict):
    total_mib: int


@pytest.mark.parametrize(
    ("annotation", "good", "bad"),
    [
        (int, [0, -3], [True, 1.0, "1", None, [1]]),
        (float, [0, 1.5], [True, "1.5", None]),
        (bool, [True, False], [0, 1, "true", None]),
        (str, ["", "a"], [1, True, None, ["a"]]),
        (None, [None], [0, ""]),
        (list, [[], [1, "a"]], [{}, "ab", None]),
        (list[int], [[], [1, 2]], [[1, "2"], [True]]),
        (Sequence[str], [["a"]], ["a", [1]]),
        (dict, [{}], [[], "a"]),
        (dict[str, int], [{"a": 1}], [{"a": "1"}]),
        (Mapping[str, object], [{"a": [1]}], [[1]]),
        (Facts, [{"total_mib": 1}], [[1]]),
        (Optional[int], [None, 1], ["1", True]),  # noqa: UP045 (users write this form too)
        (int | str, [1, "a"], [1.5, None]),
        (Union[int, list[str]], [1, ["a"]], [[1]]),  # noqa: UP007 (users write this form too)
        (Literal["soft", 1], ["soft", 1], ["hard", True]),
        (Annotated[int, "MiB"], [1], ["1"]),
        (Size, [1], ["1"]),
        (Json, [{"a": [1, None, {"b": 2}]}], ["1", {"a": ["1"]}]),
        (Any, [1, None, {}], []),
        (inspect.Parameter.empty, [1, None, {}], []),
        (object, [1, None, {}], []),
    ],
)
def test_values_fit_their_type_and_no_other(annotation: object, good: list[object], bad: list[object]) -> None:
    assert [value for value in good if not fits(value, annotation)] == []
    assert [value for value in bad if fits(value, annotation)] == []


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (int, "a whole number"),
        (float | None, "a number or null"),
        (list[str], "a list of a text"),
        (list, "a list"),
        (Literal["a", "b"], "one of 'a', 'b'"),
        (dict[str, int], "an object"),
        (Annotated[bool, "x"], "true or false"),
    ],
)
def test_a_type_is_named_in_plain_words(annotation: object, words: str) -> None:
    assert describe(annotation) == words


def test_what_a_function_can_answer_is_known_only_where_all_of_it_is_known() -> None:
    assert only_of(Size, frozenset({"number"}))
    assert only_of(dict[str, int] | None, frozenset({"object", "null"}))
    assert not only_of(dict[str, int] | float, frozenset({"object"}))
    assert not only_of(Any, frozenset({"object"}))
    assert not only_of(inspect.Signature.empty, frozenset({"object"}))
    assert not only_of(int | Any, frozenset({"number"}))


@pytest.mark.parametrize("module", ["", ".", "chaosgpu.", "chaosgpu..lint", "chaosgpu/lint", "chaosgpu.errors.deeper"])
def test_what_is_no_module_name_is_no_module(module: str) -> None:
    assert not exists(module)


@pytest.mark.parametrize("module", ["chaosgpu", "chaosgpu.lint.rules", "json", "unit.lint.pack"])
def test_a_module_that_is_there_is_found(module: str) -> None:
    assert exists(module)
