# SPDX-License-Identifier: Apache-2.0
"""Is this the known answer? Form first, then finite, then every element within the learned tolerance."""

from dataclasses import dataclass

from chaosgpu.triton.golden import finite
from chaosgpu.triton.tensors import Tensor

__all__ = ["Difference", "compare"]

# Relative floors by datatype (research/serving.md §2): what rounding in another order may change.
_RELATIVE = {"FP16": 1e-3, "BF16": 1e-2, "FP32": 1e-5, "FP64": 1e-12}
# Near zero a relative bound means nothing: rounding is relative to the tensor's largest value there.
_OF_LARGEST = 0.1
# Four times the largest spread of the learning runs (research/serving.md §2).
_SPREADS = 4.0


@dataclass(frozen=True)
class Difference:
    """What a comparison found: `why` is None where the answer is right."""

    why: str | None
    largest: float
    compared: int


def compare(expected: Tensor, got: Tensor | None, spread: float) -> Difference:
    """Compare one output with its known answer."""
    if got is None:
        return Difference(f"output {expected.name} is missing", 0.0, 0)
    if got.datatype != expected.datatype or got.shape != expected.shape:
        form = f"{got.datatype}{list(got.shape)} instead of {expected.datatype}{list(expected.shape)}"
        return Difference(f"output {expected.name} is {form}", 0.0, 0)
    if not finite(got):
        return Difference(f"output {expected.name} holds values that are not finite", 0.0, len(got.values))
    if expected.datatype not in _RELATIVE:
        wrong = sum(a != b for a, b in zip(expected.values, got.values, strict=True))
        why = f"output {expected.name} differs in {wrong} of {len(got.values)} values" if wrong else None
        return Difference(why, 0.0, len(got.values))
    return _numeric(expected, got, spread)


def _numeric(expected: Tensor, got: Tensor, spread: float) -> Difference:
    relative = _RELATIVE[expected.datatype]
    known = [float(value) for value in expected.values]
    floor = max(_SPREADS * spread, relative * _OF_LARGEST * max(map(abs, known), default=0.0))
    differences = [abs(a - float(b)) for a, b in zip(known, got.values, strict=True)]
    wrong = sum(
        difference > max(floor, relative * abs(value)) for difference, value in zip(differences, known, strict=True)
    )
    largest = max(differences, default=0.0)
    why = None
    if wrong:
        why = f"output {expected.name} differs in {wrong} of {len(known)} values, by up to {largest:.3g}"
    return Difference(why, largest, len(known))
