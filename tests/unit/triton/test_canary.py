# SPDX-License-Identifier: Apache-2.0
"""The canary against servers that answer what a real Triton would not: unsteady, not finite, cut off, from a cache."""

import itertools
import math
import random
from collections.abc import Iterable

import pytest

from chaosgpu.errors import AnswerWrong, ReadingUnknown
from chaosgpu.triton import canary
from chaosgpu.triton.golden import Case, Golden
from chaosgpu.triton.tensors import Tensor
from unit.triton.services import BinaryAnswer, Pages, closed_port, drips, inferred, pages, raw

_IN = Tensor("IN", "FP32", (1,), (0.5,))
_ROWS = Tensor("IN", "FP32", (16, 1), tuple(float(row) for row in range(16)))
_RNG = random.Random(7)


def _out(value: float) -> Tensor:
    return Tensor("OUT", "FP32", (1,), (value,))


_GOLDEN = Golden("m", (Case((_IN,), (_out(2.0),), batched=False),), {"OUT": 0.0}, 50)


def _model(answers: Iterable[object], *, cache: bool = False) -> Pages:
    coming = iter(answers)
    signature = [{"name": "IN", "datatype": "FP32", "shape": [1]}]
    config = {"max_batch_size": 0, "response_cache": {"enable": cache}}
    return {
        ("GET", "/v2/models/m"): lambda: (200, {"name": "m", "inputs": signature}),
        ("GET", "/v2/models/m/config"): lambda: (200, config),
        ("POST", "/v2/models/m/infer"): lambda: (200, next(coming)),
        ("POST", "/v2/repository/index"): lambda: (200, [{"name": "m", "state": "READY"}]),
    }


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (inferred(_out(2.0)), None),
        (inferred(_out(2.5)), "output OUT differs in 1 of 1 values, by up to 0.5"),
        (inferred(_out(math.nan)), "output OUT holds values that are not finite"),
        (inferred(Tensor("OTHER", "FP32", (1,), (2.0,))), "output OUT is missing"),
        (BinaryAnswer(inferred(_out(2.0)).head, b"\0\0"), "should have 4 bytes and has 2"),
        (BinaryAnswer(b'{"outputs": [{"name": "OUT"}]}', b""), "not described as the binary extension demands"),
        (BinaryAnswer(b"{}", b""), "holds no outputs"),
        ("<html>", "is not JSON"),
    ],
)
def test_a_wrong_answer_is_a_verdict_with_its_reason(answer: object, why: str | None) -> None:
    with pages(_model([answer])) as url:
        found = canary.ask(url, _GOLDEN, 2, _RNG)
    assert found.right is (why is None)
    assert why is None or (found.why is not None and why in found.why)


def test_no_answer_and_half_an_answer_are_verdicts_too() -> None:
    batched = Golden("m", (Case((_ROWS,), (_ROWS,), batched=True),), {}, 50)
    assert "Connection refused" in str(canary.ask(closed_port(), batched, 2, _RNG).why)
    with raw(drips(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", 0.05, 30)) as url:
        found = canary.ask(url, batched, 0.3, _RNG)
    assert found.why == "no answer within 0.3 s"
    assert 0.3 <= found.latency_s < 0.8


def test_a_response_cache_makes_a_canary_blind_that_cannot_be_varied() -> None:
    with pages(_model([inferred(_out(2.0))], cache=True)) as url, pytest.raises(ReadingUnknown, match="is blind"):
        canary.ask(url, _GOLDEN, 2, _RNG)


def test_a_batch_is_sent_in_another_order_each_time_so_that_no_cache_can_answer_it() -> None:
    case = Case((_ROWS,), (_ROWS,), batched=True)
    orders = [canary._order(case, _RNG) for _ in range(5)]
    assert len({tuple(order or ()) for order in orders}) == 5
    for order in orders:
        assert order is not None
        assert canary._restored(_ROWS.rows(order), order) == _ROWS


def test_learning_keeps_the_largest_spread() -> None:
    answers = [inferred(_out(2.0 + run * 1e-6)) for run in range(3) for _ in range(16)]
    with pages(_model(answers)) as url:
        golden = canary.learn(url, "m", 3, 2)
    assert len(golden.cases) == 16
    assert golden.spread["OUT"] == pytest.approx(2e-6, rel=0.1)


@pytest.mark.parametrize(
    ("answers", "sentence"),
    [
        ([inferred(_out(float(run))) for run in range(1, 40)], "different answers to the same input in OUT"),
        (itertools.repeat(inferred(_out(math.inf))), "not finite in OUT"),
    ],
)
def test_a_model_without_one_answer_is_not_learned(answers: Iterable[object], sentence: str) -> None:
    with pages(_model(answers)) as url, pytest.raises(AnswerWrong, match=sentence):
        canary.learn(url, "m", 2, 2)


def test_text_that_changes_is_left_out_and_the_numbers_are_still_compared() -> None:
    answers = [inferred(_out(2.0), Tensor("SAYS", "BYTES", (1,), (f"at {turn}",))) for turn in range(32)]
    with pages(_model(answers)) as url:
        golden = canary.learn(url, "m", 2, 2)
    assert {tensor.name for case in golden.cases for tensor in case.outputs} == {"OUT"}
