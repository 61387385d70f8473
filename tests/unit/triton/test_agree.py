# SPDX-License-Identifier: Apache-2.0
"""Nodes that answer alike, a little otherwise, not at all: compared with each other, by a known answer or without."""

import itertools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from chaosgpu.errors import BadArgument, ReadingUnknown
from chaosgpu.triton import probes
from chaosgpu.triton.golden import Case, Golden, write_golden
from chaosgpu.triton.tensors import Tensor
from unit.triton.services import BinaryAnswer, Pages, closed_port, inferred, pages

_IN = Tensor("IN", "FP32", (1,), (0.5,))


def _out(value: float, name: str = "OUT") -> Tensor:
    return Tensor(name, "FP32", (1,), (value,))


def _node(*answers: BinaryAnswer) -> Pages:
    coming = itertools.cycle(answers)
    signature = [{"name": "IN", "datatype": "FP32", "shape": [1]}]
    return {
        ("GET", "/v2/models/m"): lambda: (200, {"name": "m", "inputs": signature}),
        ("GET", "/v2/models/m/config"): lambda: (200, {"max_batch_size": 0}),
        ("POST", "/v2/models/m/infer"): lambda: (200, next(coming)),
        ("POST", "/v2/repository/index"): lambda: (200, [{"name": "m", "state": "READY"}]),
    }


@contextmanager
def _nodes(*tables: Pages) -> Iterator[list[str]]:
    with ExitStack() as stack:
        yield [stack.enter_context(pages(table)) for table in tables]


@pytest.fixture
def golden(tmp_path: Path) -> str:
    """Write a known answer whose second output was left out, and whose first one varied a little while learning."""
    path = tmp_path / "m.json"
    write_golden(Golden("m", (Case((_IN,), (_out(2.0),), batched=False),), {"OUT": 1e-3}, 50), path)
    return str(path)


def test_nodes_that_answer_alike_agree_without_anybody_knowing_the_answer() -> None:
    with _nodes(_node(inferred(_out(2.0))), _node(inferred(_out(2.0 + 1e-6)))) as urls:
        assert probes.answers_agree(urls, "m") is True
        found = probes.compare_answers(urls, "m")
    assert found["agree"] is True
    assert [node["compared"] for node in found["nodes"]] == [16, 16]


def test_a_node_that_answers_a_little_otherwise_is_named(caplog: pytest.LogCaptureFixture) -> None:
    right, other = _node(inferred(_out(2.0))), _node(inferred(_out(2.001)))
    with _nodes(right, right, other) as urls:
        assert probes.answers_agree(urls, "m") is False
        found = probes.compare_answers(urls, "m")
    assert [node["why"] is None for node in found["nodes"]] == [True, True, False]
    assert found["nodes"][2]["max_difference"] == pytest.approx(0.001, rel=1e-3)
    assert f"m at {urls[2]} answers otherwise than at {urls[0]}: output OUT differs in 1 of 1 values" in caplog.text


def test_a_known_answer_brings_its_tolerance_and_leaves_out_what_it_does_not_know(golden: str) -> None:
    one, other = _node(inferred(_out(2.0), _out(1.0, "NOISE"))), _node(inferred(_out(2.001), _out(9.0, "NOISE")))
    with _nodes(one, other) as urls:
        assert probes.answers_agree(urls, "m", golden=golden) is True
        assert probes.answers_agree(urls, "m") is False  # the control: without it both count


def test_a_node_without_an_answer_is_unknown_and_not_unlike() -> None:
    with _nodes(_node(inferred(_out(2.0)))) as urls, pytest.raises(ReadingUnknown, match="gave no answer of m"):
        probes.answers_agree([*urls, closed_port()], "m")


_ONE = "http://127.0.0.1:8000"


@pytest.mark.parametrize("urls", [[], [_ONE], [_ONE, _ONE], _ONE, [1, 2], None])
def test_only_a_list_of_several_addresses_is_taken(urls: list[str]) -> None:
    with pytest.raises(BadArgument):
        probes.answers_agree(urls, "m")


def test_the_share_is_what_users_get(golden: str, caplog: pytest.LogCaptureFixture) -> None:
    with pages(_node(inferred(_out(2.0)), inferred(_out(2.5)))) as url:
        assert probes.canary_share(url, "m", asks=10, golden=golden) == 0.5
    assert caplog.text.count("was not right each time: output OUT differs") == 1
    assert probes.canary_share(closed_port(), "m", asks=2, golden=golden) == 0.0
    with pytest.raises(BadArgument, match="asks must be a whole number from 1 to 1000"):
        probes.canary_share("http://127.0.0.1:1", "m", asks=0, golden=golden)
