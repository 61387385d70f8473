# SPDX-License-Identifier: Apache-2.0
"""What a verb may be asked for: each wrong value has its sentence, and text for people is one line of plain letters."""

import io
import json
import sys
from typing import Any

import pytest

from chaosgpu.agent.errors import BadRequest
from chaosgpu.agent.service.order import Wanted, parse_order, plain
from chaosgpu.agent.service.verbs import main

GOOD = {"drill": "d1", "reason": "autumn"}
WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("drain", {"reason": "x"}, "drill must be a text"),
    ("drain", {"drill": "d1"}, "reason must be a text"),
    ("drain", {**GOOD, "drill": "../d1"}, "drill has up to 64 letters"),
    ("drain", {**GOOD, "unit": ["a"]}, "drain has no parameter unit"),
    ("drain", {**GOOD, "units": "triton"}, "units must be a list of texts"),
    ("drain", {**GOOD, "units": ["triton; reboot"]}, "units must name services"),
    ("drain", {**GOOD, "units": ["triton@.service"]}, "units must name services"),
    ("drain", {**GOOD, "units": [f"u{n}" for n in range(101)]}, "100 are the most"),
    ("drain", {**GOOD, "containers": ["--all"]}, "containers must be a list"),
    ("drain", {**GOOD, "slurm": {"nodes": "a"}}, "slurm has no parameter nodes"),
    ("drain", {**GOOD, "slurm": {"node": "gpu[1-9]"}}, "slurm.node must be the name of one node"),
    ("drain", {**GOOD, "hook": ["hook.sh"]}, "hook must begin with an absolute path"),
    ("drain", {**GOOD, "within_s": 0}, "within_s must be between 1 and 3600"),
    ("drain", {**GOOD, "check": "yes"}, "check must be true or false"),
    ("drain", {**GOOD, "differences": ["x"]}, "drain has no parameter differences"),
    ("return", {"drill": "d1", "units": ["a"]}, "return has no parameter units"),
    ("return", {}, "drill must be a text"),
    ("quarantine", {"drill": "d1"}, "reason must be a text"),
    ("release", {"reason": "mended"}, "by must be a text"),
    ("release", {"by": "ann"}, "reason must be a text"),
]


@pytest.mark.parametrize(("verb", "request_", "sentence"), WRONG, ids=[sentence for _, _, sentence in WRONG])
def test_a_wrong_value_is_refused_with_a_sentence(verb: str, request_: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadRequest, match=sentence.replace("[", ".")):
        parse_order(verb, request_, "bob")


def test_what_is_named_is_read_whole_and_once() -> None:
    asked: dict[str, Any] = {
        **GOOD,
        "units": ["triton", "a.socket", "triton"],
        "containers": ["c"],
        "slurm": {"node": None},
        "hook": ["/h", "x"],
    }
    order = parse_order("drain", asked, "bob")
    assert order.wanted == Wanted(("triton.service", "a.socket"), ("c",), slurm=True, node=None, hook=("/h", "x"))
    assert (order.by, order.within_s, order.check) == ("bob", 120.0, False)
    assert Wanted.from_json(order.wanted.to_json()) == order.wanted


def test_text_for_people_is_one_line_of_plain_letters() -> None:
    assert plain("a\nState=IDLE\t\x1b[31m red  é") == "a State=IDLE [31m red"
    assert len(plain("x" * 1000)) == 300


@pytest.mark.parametrize(
    ("words", "asked", "sentence"),
    [
        (["begin"], "{}", "service takes one of status, drain, return, quarantine, release, not 'begin'"),
        (["drain", "now"], "{}", "not 'drain now'"),
        (["status"], "torn", "The request is no JSON"),
        (["status"], "[]", "The request must be one JSON object"),
        (["status"], '{"protocol": 9}', "This agent speaks protocol 1"),
    ],
)
def test_a_wrong_call_is_answered_with_its_sentence(
    words: list[str], asked: str, sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(asked))
    assert main(words) == 1
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["kind"] == "bad_request"
    assert sentence in error["message"]
