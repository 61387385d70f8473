# SPDX-License-Identifier: Apache-2.0
"""The known answer of a model: seeded inputs, their outputs while it was healthy, how far apart those lay."""

import json
import math
import os
import random
import secrets
from dataclasses import dataclass
from pathlib import Path

from chaosgpu.errors import AnswerWrong, BadArgument, ReadingUnknown
from chaosgpu.fleet.values import JsonObject, JsonValue
from chaosgpu.triton.tensors import Tensor, seeded, tensor_from_json, tensor_to_json

__all__ = ["CANARY_INPUTS", "Case", "Golden", "cases_for", "read_golden", "write_golden"]

# research/serving.md §2: one input catches 43 % of single-bit weight flips, sixteen catch 95 %.
CANARY_INPUTS = 16
# What a free dimension becomes; short, so that the canary costs the service little.
_FREE_DIMENSION = 8
_MAX_FILE_BYTES = 32 * 1024 * 1024
_VERSION = 1


@dataclass(frozen=True)
class Case:
    """One request of the canary and the outputs that it had."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    batched: bool


@dataclass(frozen=True)
class Golden:
    """The known answer: cases, and for each compared output the largest spread seen while learning."""

    model: str
    cases: tuple[Case, ...]
    spread: dict[str, float]
    runs: int


def cases_for(metadata: JsonObject, config: JsonObject, seed: int) -> tuple[Case, ...]:
    """Build sixteen seeded inputs from a model's signature: one batch where it takes one, else several."""
    rng = random.Random(seed)  # noqa: S311 (the same inputs every time, not a secret)
    limit = config.get("max_batch_size")
    batch = limit if isinstance(limit, int) and limit > 0 else 0
    optional = {
        entry["name"]
        for entry in _entries(config.get("input"))
        if entry.get("optional") is True and isinstance(entry.get("name"), str)
    }
    described = [entry for entry in _entries(metadata.get("inputs")) if entry.get("name") not in optional]
    if not described:
        raise ReadingUnknown("The model's metadata names no inputs, so no canary can be built; give a golden file.")
    rows = [min(batch, CANARY_INPUTS - at) for at in range(0, CANARY_INPUTS, batch)] if batch else [0] * CANARY_INPUTS
    return tuple(Case(tuple(_input(entry, count, rng) for entry in described), (), batch > 0) for count in rows)


def _entries(value: JsonValue) -> list[JsonObject]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _input(entry: JsonObject, rows: int, rng: random.Random) -> Tensor:
    name, datatype, shape = entry.get("name"), entry.get("datatype"), entry.get("shape")
    if not isinstance(name, str) or not isinstance(datatype, str) or not isinstance(shape, list):
        raise ReadingUnknown("The model's metadata describes an input without name, datatype or shape.")
    sizes = [_FREE_DIMENSION if size == -1 else size for size in shape if isinstance(size, int)]
    if rows:
        sizes[0] = rows
    return seeded(name, datatype, tuple(sizes), rng)


def finite(tensor: Tensor) -> bool:
    """Say whether every number of a tensor is finite."""
    return all(not isinstance(value, float) or math.isfinite(value) for value in tensor.values)


def write_golden(golden: Golden, path: Path) -> None:
    """Write the known answer, as a whole or not at all."""
    cases: list[JsonValue] = [
        {
            "inputs": [tensor_to_json(tensor) for tensor in case.inputs],
            "outputs": [tensor_to_json(tensor) for tensor in case.outputs],
            "batched": case.batched,
        }
        for case in golden.cases
    ]
    spread: JsonObject = dict(golden.spread)
    document: JsonObject = {
        "version": _VERSION,
        "model": golden.model,
        "runs": golden.runs,
        "spread": spread,
        "cases": cases,
    }
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("x") as file:
            json.dump(document, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise BadArgument(f"The known answer could not be written to {path}: {error.strerror}.") from error


def read_golden(path: Path, model: str) -> Golden:
    """Read the known answer of one model; a file for another model, or a broken one, is refused."""
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise BadArgument(f"{path} is larger than {_MAX_FILE_BYTES >> 20} MiB: this is no golden file.")
        document = json.loads(path.read_text())
    except OSError as error:
        raise BadArgument(
            f"The known answer {path} cannot be read: {error.strerror}. Learn it with learn_canary while the model "
            "is healthy."
        ) from error
    except ValueError as error:
        raise BadArgument(f"The known answer {path} is not JSON; learn the canary again.") from error
    if not isinstance(document, dict) or document.get("version") != _VERSION:
        raise BadArgument(f"{path} is not a golden file of version {_VERSION}; learn the canary again.")
    if document.get("model") != model:
        raise BadArgument(f"{path} holds the known answer of model {document.get('model')!r}, not of {model!r}.")
    spread, runs = document.get("spread"), document.get("runs")
    cases = tuple(_case(entry, str(path)) for entry in _entries(document.get("cases")))
    if not cases or not isinstance(spread, dict) or not isinstance(runs, int):
        raise BadArgument(f"{path} is not complete; learn the canary again.")
    return Golden(model, cases, {name: float(value) for name, value in spread.items()}, runs)


def _case(entry: JsonObject, where: str) -> Case:
    def tensors(key: str) -> tuple[Tensor, ...]:
        listed = entry.get(key)
        return tuple(tensor_from_json(one, where) for one in listed) if isinstance(listed, list) else ()

    case = Case(tensors("inputs"), tensors("outputs"), entry.get("batched") is True)
    if not case.inputs or not case.outputs:
        raise BadArgument(f"{where} holds a case without inputs or outputs; learn the canary again.")
    return case


def spread_between(first: Tensor, other: Tensor) -> float:
    """Return how far two answers to one input lie apart; different text or a different form is an error."""
    if (first.datatype, first.shape) != (other.datatype, other.shape):
        raise AnswerWrong(f"output {first.name} changed its form between two answers: {first.shape} and {other.shape}.")
    return max(
        (abs(float(a) - float(b)) for a, b in zip(first.values, other.values, strict=True)),
        default=0.0,
    )
