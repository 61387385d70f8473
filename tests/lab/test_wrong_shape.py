# SPDX-License-Identifier: Apache-2.0
"""A canary whose tensors have not the shape that a real Triton's model takes: not right, with Triton's own sentence."""

import random
from dataclasses import replace
from pathlib import Path

from chaosgpu.lab.plan import LabPlan
from chaosgpu.triton import canary
from chaosgpu.triton.golden import read_golden


def test_a_wrong_tensor_shape_is_not_right_and_says_why(quiet: LabPlan) -> None:
    golden = read_golden(Path(quiet.exported["CHAOSGPU_CANARY"]), "chat")
    assert canary.ask(quiet.url, golden, 2, random.Random(1)).right  # the same answer in the right shape
    case = golden.cases[0]
    deeper = tuple(replace(tensor, shape=(*tensor.shape, 1)) for tensor in case.inputs)
    found = canary.ask(quiet.url, replace(golden, cases=(replace(case, inputs=deeper),)), 2, random.Random(1))
    assert not found.right
    assert found.why is not None
    assert "shape" in found.why
