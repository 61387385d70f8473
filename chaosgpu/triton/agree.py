# SPDX-License-Identifier: Apache-2.0
"""Do the nodes of one service answer alike? The same inputs to each of them, compared with each other."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from chaosgpu.errors import AnswerWrong, ReadingUnknown, Refused, Unreachable
from chaosgpu.fleet.values import JsonObject
from chaosgpu.triton import api
from chaosgpu.triton.compare import compare
from chaosgpu.triton.golden import Case, Golden, cases_for
from chaosgpu.triton.http import TooSlow
from chaosgpu.triton.tensors import Tensor

__all__ = ["Node", "asked_alike"]

_SEED = 16


@dataclass(frozen=True)
class Node:
    """One node and how its answers lie to those of the first; `why` is None where they are alike."""

    url: str
    why: str | None
    largest_difference: float
    compared: int

    def to_json(self) -> JsonObject:
        """Return the plain JSON of an activity's answer."""
        return {
            "url": self.url,
            "why": self.why,
            "max_difference": self.largest_difference,
            "compared": self.compared,
        }


def asked_alike(
    urls: Sequence[str], model: str, within_s: float, golden: Golden | None, rng: random.Random
) -> list[Node]:
    """Ask every node the same and compare each with the first; ReadingUnknown where one gives no answer.

    With a known answer its inputs are asked and its spread is the tolerance; without one, inputs are built from the
    model's signature, and what rounding in another order may change is the tolerance.
    """
    if golden is None:
        cases = cases_for(api.metadata(urls[0], model, within_s), api.config(urls[0], model, within_s), _SEED)
    else:
        cases = golden.cases
    varied = [_varied(case, rng) for case in cases]
    answers = [[_answer(url, model, case, within_s) for case in varied] for url in urls]
    spread = {} if golden is None else golden.spread
    named = [{tensor.name for tensor in case.outputs} for case in cases]
    return [_against(url, answers[0], answer, named, spread) for url, answer in zip(urls, answers, strict=True)]


def _varied(case: Case, rng: random.Random) -> tuple[Tensor, ...]:
    """Put the rows of a batch in another order: another request each time, so that no response cache answers it."""
    rows = case.inputs[0].shape[0] if case.batched and case.inputs[0].shape else 0
    if rows <= 1 or any(not tensor.shape or tensor.shape[0] != rows for tensor in case.inputs):
        return case.inputs
    order = list(range(rows))
    rng.shuffle(order)
    return tuple(tensor.rows(order) for tensor in case.inputs)


def _answer(url: str, model: str, inputs: tuple[Tensor, ...], within_s: float) -> dict[str, Tensor]:
    try:
        outputs, _ = api.infer(url, model, inputs, within_s)
    except TooSlow as error:
        raise ReadingUnknown(f"{url} gave no answer of {model} within {within_s:g} s: nothing to compare.") from error
    except (AnswerWrong, Refused, Unreachable) as error:
        raise ReadingUnknown(f"{url} gave no answer of {model} that could be compared: {error}") from error
    return {tensor.name: tensor for tensor in outputs}


def _against(
    url: str,
    first: Sequence[dict[str, Tensor]],
    other: Sequence[dict[str, Tensor]],
    named: Sequence[set[str]],
    spread: dict[str, float],
) -> Node:
    largest, compared, reasons = 0.0, 0, []
    for known, got, names in zip(first, other, named, strict=True):
        for name, expected in known.items():
            if names and name not in names:
                continue  # left out when the known answer was learned, since it changes from run to run
            found = compare(expected, got.get(name), spread.get(name, 0.0))
            largest, compared = max(largest, found.largest), compared + found.compared
            reasons += [found.why] if found.why is not None else []
    return Node(url, reasons[0] if reasons else None, largest, compared)
