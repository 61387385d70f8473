# SPDX-License-Identifier: Apache-2.0
"""YAML 1.1 reads some plain words as something else; keys that are there twice lose one of their values."""

import pytest
import yaml

from chaosgpu.lint import Finding, lint, parse


def traps(text: str, rule: str = "yaml-trap") -> list[Finding]:
    return [finding for finding in lint(parse(text)) if finding.rule == rule]


@pytest.mark.parametrize(
    ("written", "becomes", "says"),
    [
        ("no", False, "false"),
        ("Yes", True, "true"),
        ("off", False, "false"),
        ("on", True, "true"),
        ("12:30", 750, "base 60"),
        ("0123", 83, "octal"),
        ("1e3", "1e3", "looks like a number"),
        ("2024-01-02", None, "date"),
    ],
)
def test_a_plain_word_that_is_read_as_something_else_is_found(written: str, becomes: object, says: str) -> None:
    text = f"title: t\nversion: {written}\n"
    if becomes is not None:
        assert yaml.safe_load(text)["version"] == becomes
    [finding] = traps(text)
    assert (finding.pointer, finding.line) == ("/version", 2)
    assert says in finding.message
    assert traps(text.replace(written, f"'{written}'")) == []


@pytest.mark.parametrize("written", ["true", "False", "12", "1.0e+3", "0", "0x1f", "1.21.4", "GPU-1e3", "null", "3.5"])
def test_a_plain_word_that_is_what_it_looks_like_is_left_alone(written: str) -> None:
    assert traps(f"title: t\nversion: {written}\n") == []


def test_a_key_that_is_no_text_is_found() -> None:
    [finding] = traps("title: t\nconfiguration:\n  on: 1\n")
    assert (finding.level, finding.pointer, finding.line) == ("error", "/configuration/on", 3)


def test_the_same_words_in_json_are_texts() -> None:
    document = parse('{"title": "no", "tags": ["12:30", "1e3"]}', is_json=True)
    assert [finding for finding in lint(document) if finding.rule == "yaml-trap"] == []


@pytest.mark.parametrize("is_json", [True, False])
def test_a_key_that_is_there_twice_is_found_in_json_and_yaml(is_json: bool) -> None:
    text = '{"title": "t",\n "method": [],\n "tags": [],\n "method": [1]}'
    [finding] = [one for one in lint(parse(text, is_json=is_json)) if one.rule == "duplicate-key"]
    assert (finding.pointer, finding.line) == ("/method", 4)
    assert "line 2" in finding.message


def test_a_merged_key_that_is_overridden_is_not_there_twice() -> None:
    text = "x-base: &base {a: 1, b: 2}\nconfiguration:\n  <<: *base\n  a: 3\n"
    document = parse(text)
    assert document.data["configuration"] == {"a": 3, "b": 2}
    assert traps(text, "duplicate-key") == []


def test_lines_are_those_of_the_file_in_json_and_yaml() -> None:
    yaml_document = parse("title: t\n\nmethod:\n  - name: a\n    provider:\n      arguments: {x: 1,\n        y: 2}\n")
    json_text = '{\n\t"title": "t",\n\t"method": [\n\t\t{"name": "a",\n\t\t "provider": {\n\t\t\t"type": "x"}}]\n}'
    json_document = parse(json_text, is_json=True)
    assert yaml_document.line_of("/method/0/provider/arguments/y") == 7
    assert yaml_document.line_of("/method/0/provider/func") == 5
    assert json_document.line_of("/method/0/provider/type") == 6
    assert json_document.line_of("/rollbacks") == 1
