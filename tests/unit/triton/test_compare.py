# SPDX-License-Identifier: Apache-2.0
"""What counts as the known answer: form, finite, tolerance; and files that are not well formed."""

import math
import random
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from chaosgpu.errors import BadArgument, ReadingUnknown, Unreachable
from chaosgpu.fleet.values import JsonObject, JsonValue
from chaosgpu.triton.compare import compare
from chaosgpu.triton.golden import Case, Golden, cases_for, read_golden, write_golden
from chaosgpu.triton.known import known_answer
from chaosgpu.triton.tensors import Tensor, decode, encode, seeded

_NUMERIC = ["BOOL", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "FP16", "BF16", "FP32"]


def _scores(*values: float) -> Tensor:
    return Tensor("SCORES", "FP32", (len(values),), values)


@pytest.mark.parametrize(
    ("got", "spread", "why"),
    [
        (_scores(1.0, -2.0), 0.0, None),
        (_scores(1.000005, -2.0), 0.0, None),  # one part in 100,000 is rounding
        (_scores(1.0001, -2.0), 0.0, "differs in 1 of 2"),
        (_scores(1.0001, -2.0), 1e-4, None),  # four times a spread that was seen while learning
        (_scores(1.0005, -2.0), 1e-4, "differs in 1 of 2"),
        (_scores(math.nan, -2.0), 1.0, "not finite"),
        (_scores(math.inf, -2.0), 1.0, "not finite"),
        (_scores(1.0), 0.0, r"FP32\[1\] instead of FP32\[2\]"),
        (Tensor("SCORES", "FP16", (2,), (1.0, -2.0)), 0.0, "FP16"),
        (None, 0.0, "is missing"),
    ],
)
def test_an_answer_is_right_within_its_tolerance_and_in_its_form(
    got: Tensor | None, spread: float, why: str | None
) -> None:
    found = compare(_scores(1.0, -2.0), got, spread)
    assert (found.why is None) is (why is None)
    assert why is None or re.search(why, found.why or "")


def test_text_and_whole_numbers_must_be_equal() -> None:
    known = Tensor("WORD", "BYTES", (2,), ("rack", "node"))
    assert compare(known, Tensor("WORD", "BYTES", (2,), ("rack", "node")), 9.9).why is None
    assert compare(known, Tensor("WORD", "BYTES", (2,), ("rack", "nodf")), 9.9).why is not None
    counts = Tensor("N", "INT32", (1,), (7,))
    assert compare(counts, Tensor("N", "INT32", (1,), (8,)), 9.9).why is not None


@given(some.sampled_from([*_NUMERIC, "FP64", "BYTES"]), some.integers(0, 9), some.integers(0, 2**32))
def test_tensors_survive_the_wire(datatype: str, count: int, seed: int) -> None:
    made = seeded("X", datatype, (count, 2), random.Random(seed))
    assert decode("X", datatype, (count, 2), encode(made)) == made


@pytest.mark.parametrize(
    ("datatype", "raw"),
    [("FP32", b"\0" * 7), ("BYTES", b"\xff\xff\xff\x7fabc"), ("BYTES", b"\1\0"), ("FP99", b""), ("BF16", b"\0")],
)
def test_bytes_that_are_no_tensor_are_the_servers_error(datatype: str, raw: bytes) -> None:
    with pytest.raises(Unreachable, match="output X"):
        decode("X", datatype, (2,), raw)


_SIGNATURE: JsonValue = [{"name": "IN", "datatype": "FP32", "shape": [-1, 4]}]
_KEEP: JsonValue = {"name": "KEEP", "datatype": "FP32", "shape": [-1, 1]}


@pytest.mark.parametrize(
    ("batch", "shapes"), [(64, [(16, 4)]), (16, [(16, 4)]), (6, [(6, 4), (6, 4), (4, 4)]), (0, [(8, 4)] * 16)]
)
def test_sixteen_inputs_go_into_as_few_requests_as_the_model_takes(batch: int, shapes: list[tuple[int, ...]]) -> None:
    cases = cases_for({"inputs": _SIGNATURE}, {"max_batch_size": batch}, seed=16)
    assert [case.inputs[0].shape for case in cases] == shapes
    assert cases == cases_for({"inputs": _SIGNATURE}, {"max_batch_size": batch}, seed=16)


def test_optional_inputs_are_left_out_and_a_model_without_inputs_cannot_be_asked() -> None:
    config: JsonObject = {"max_batch_size": 16, "input": [{"name": "KEEP", "optional": True}]}
    with pytest.raises(ReadingUnknown, match="names no inputs"):
        cases_for({"inputs": [_KEEP]}, config, seed=1)
    assert cases_for({"inputs": [_KEEP]}, {}, seed=1)[0].inputs[0].name == "KEEP"
    with pytest.raises(ReadingUnknown, match="names no inputs"):
        cases_for({"inputs": []}, {}, seed=1)


def _golden() -> Golden:
    case = Case((Tensor("IN", "INT32", (2, 1), (1, 2)),), (_scores(0.5, 1.5),), batched=True)
    return Golden("chat", (case,), {"SCORES": 1e-6}, 50)


def test_a_known_answer_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_golden(_golden(), tmp_path / "new" / "chat.json")
    assert read_golden(tmp_path / "new" / "chat.json", "chat") == _golden()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "is not JSON"),
        ("[]", "is not a golden file"),
        ('{"version": 2}', "is not a golden file of version 1"),
        ('{"version": 1, "model": "other"}', "of model 'other', not of 'chat'"),
        ('{"version": 1, "model": "chat", "runs": 1, "spread": {}, "cases": []}', "is not complete"),
        ('{"version": 1, "model": "chat", "runs": 1, "spread": {}, "cases": [{}]}', "without inputs or outputs"),
        (
            '{"version": 1, "model": "chat", "runs": 1, "spread": {}, "cases": [{"inputs": [{"name": 1}]}]}',
            "well formed",
        ),
    ],
)
def test_a_broken_known_answer_is_refused_with_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "chat.json"
    path.write_text(text)
    with pytest.raises(BadArgument, match=sentence):
        read_golden(path, "chat")


def test_a_missing_known_answer_says_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHAOSGPU_CANARY", raising=False)
    with pytest.raises(BadArgument, match="learn it with learn_canary"):
        known_answer(None, {}, "chat")
    with pytest.raises(BadArgument, match="No such file"):
        known_answer(str(tmp_path / "no.json"), None, "chat")


def test_the_argument_counts_before_the_configuration_and_that_before_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("argument", "configuration", "environment"):
        write_golden(Golden("chat", _golden().cases, {}, len(name)), tmp_path / name)
    monkeypatch.setenv("CHAOSGPU_CANARY", str(tmp_path / "environment"))
    configuration = {"chaosgpu_canary": str(tmp_path / "configuration")}
    assert known_answer(str(tmp_path / "argument"), configuration, "chat").runs == len("argument")
    assert known_answer(None, configuration, "chat").runs == len("configuration")
    assert known_answer(None, None, "chat").runs == len("environment")
