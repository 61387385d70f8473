# SPDX-License-Identifier: Apache-2.0
"""The canary: known inputs, a known answer, a deadline. The only probe that says whether a model really works."""

import random
import time
from dataclasses import dataclass

from chaosgpu.errors import AnswerWrong, ReadingUnknown, Refused, Unreachable
from chaosgpu.fleet.values import JsonObject
from chaosgpu.triton import api
from chaosgpu.triton.compare import compare
from chaosgpu.triton.golden import Case, Golden, cases_for, finite, spread_between
from chaosgpu.triton.http import TooSlow
from chaosgpu.triton.tensors import Tensor

__all__ = ["Verdict", "ask", "learn"]

_SEED = 16
# Answers to one input that lie further apart than this are not one known answer (BF16 needs 1e-2).
_LARGEST_SPREAD = 2e-2


@dataclass(frozen=True)
class Verdict:
    """What one canary found."""

    right: bool
    why: str | None
    latency_s: float
    largest_difference: float
    compared: int

    def to_json(self) -> JsonObject:
        """Return the plain JSON of an activity's answer."""
        return {
            "right": self.right,
            "why": self.why,
            "latency_s": round(self.latency_s, 4),
            "max_difference": self.largest_difference,
            "compared": self.compared,
        }


def _shuffled(case: Case, order: list[int] | None) -> Case:
    if order is None:
        return case
    inputs = tuple(tensor.rows(order) for tensor in case.inputs)
    outputs = tuple(tensor.rows(order) for tensor in case.outputs)
    return Case(inputs, outputs, case.batched)


def _order(case: Case, rng: random.Random) -> list[int] | None:
    """Shuffle the rows of a batch: another request each time, so that a response cache cannot answer it."""
    rows = case.inputs[0].shape[0] if case.batched and case.inputs[0].shape else 0
    same = all(tensor.shape and tensor.shape[0] == rows for tensor in case.inputs + case.outputs)
    if rows <= 1 or not same:
        return None
    order = list(range(rows))
    rng.shuffle(order)
    return order


def _refuse_blind(url: str, golden: Golden, within_s: float) -> None:
    """Refuse to judge through a response cache: it answers for a model that is dead."""
    if all(case.batched and case.inputs[0].shape[0] > 1 for case in golden.cases):
        return
    cache = api.config(url, golden.model, within_s).get("response_cache")
    if isinstance(cache, dict) and cache.get("enable") is True:
        raise ReadingUnknown(
            f"The canary of {golden.model} at {url} is blind: the model's response cache is on and its requests cannot "
            "be varied. Switch the cache off for this model, or learn a canary with a batch."
        )


def ask(url: str, golden: Golden, within_s: float, rng: random.Random) -> Verdict:
    """Ask for the known answer: a wrong, late or missing one is a verdict; a question that cannot be put raises."""
    started = time.monotonic()
    largest, compared = 0.0, 0

    def verdict(why: str | None) -> Verdict:
        return Verdict(why is None, why, time.monotonic() - started, largest, compared)

    try:
        _refuse_blind(url, golden, within_s)
        started = time.monotonic()
        for case in golden.cases:
            sent = _shuffled(case, _order(case, rng))
            left = within_s - (time.monotonic() - started)
            if left <= 0:
                return verdict(f"no answer within {within_s:g} s")
            outputs, _ = api.infer(url, golden.model, sent.inputs, left)
            got = {tensor.name: tensor for tensor in outputs}
            for expected in sent.outputs:
                found = compare(expected, got.get(expected.name), golden.spread.get(expected.name, 0.0))
                largest, compared = max(largest, found.largest), compared + found.compared
                if found.why is not None:
                    return verdict(found.why)
    except TooSlow:
        return verdict(f"no answer within {within_s:g} s")
    except (Unreachable, AnswerWrong, Refused) as error:
        return verdict(str(error))
    return verdict(None)


def learn(url: str, model: str, runs: int, within_s: float) -> Golden:
    """Ask the same sixteen inputs `runs` times and keep the answer and its spread; do so healthy, under load."""
    metadata = api.metadata(url, model, within_s)
    configuration = api.config(url, model, within_s)
    cases = cases_for(metadata, configuration, _SEED)
    rng = random.Random(_SEED)  # noqa: S311 (an order of rows, not a secret)
    learned: tuple[Case, ...] = ()
    spread: dict[str, float] = {}
    unsteady: set[str] = set()
    for run in range(runs):
        answers = tuple(_answer(url, model, case, rng, within_s) for case in cases)
        if run == 0:
            learned = answers
        for first, other in zip(learned, answers, strict=True):
            _measure(first, other, spread, unsteady)
    steady = tuple(
        Case(case.inputs, tuple(tensor for tensor in case.outputs if tensor.name not in unsteady), case.batched)
        for case in learned
    )
    if not all(case.outputs for case in steady):
        raise AnswerWrong(
            f"The model {model} at {url} gives different answers to the same input in {', '.join(sorted(unsteady))}, "
            "so there is no known answer; make it deterministic (seed, temperature 0) first."
        )
    return Golden(model, steady, {name: value for name, value in spread.items() if name not in unsteady}, runs)


def _measure(first: Case, other: Case, spread: dict[str, float], unsteady: set[str]) -> None:
    for before, now in zip(first.outputs, other.outputs, strict=True):
        if before.datatype == "BYTES":
            if before.values != now.values:
                unsteady.add(before.name)
            continue
        apart = spread_between(before, now)
        spread[before.name] = max(spread.get(before.name, 0.0), apart)
        if apart > _LARGEST_SPREAD * max((abs(float(value)) for value in before.values), default=0.0):
            unsteady.add(before.name)


def _answer(url: str, model: str, case: Case, rng: random.Random, within_s: float) -> Case:
    """Ask one case in a shuffled order and put the answer back into the case's own order."""
    order = _order(case, rng)
    outputs, _ = api.infer(url, model, _shuffled(case, order).inputs, within_s)
    for tensor in outputs:
        if not finite(tensor):
            raise AnswerWrong(f"The model {model} at {url} answers values that are not finite in {tensor.name}.")
    return Case(case.inputs, tuple(_restored(tensor, order) for tensor in outputs), case.batched)


def _restored(tensor: Tensor, order: list[int] | None) -> Tensor:
    if order is None or not tensor.shape or tensor.shape[0] != len(order):
        return tensor
    return tensor.rows([order.index(row) for row in range(len(order))])
