# SPDX-License-Identifier: Apache-2.0
"""The lab's two versions of a CUDA library: the same calls, slightly other numbers, the names that drift looks at."""

import ctypes
import random
import subprocess
from pathlib import Path

import pytest

from chaosgpu.agent.facts.cuda import family
from chaosgpu.errors import BadArgument, LabFailed
from chaosgpu.lab.numerics import SONAME, VERSIONS, library
from chaosgpu.triton.compare import compare
from chaosgpu.triton.tensors import Tensor

_ROWS, _INNER, _COLUMNS = 16, 64, 128


def _product(cuda: str, left: list[float], right: list[float]) -> Tensor:
    out = (ctypes.c_float * (_ROWS * _COLUMNS))()
    ctypes.CDLL(str(library(cuda))).lab_product(
        (ctypes.c_float * len(left))(*left), (ctypes.c_float * len(right))(*right), out, _ROWS, _INNER, _COLUMNS
    )
    return Tensor("LOGITS", "FP32", (_ROWS, _COLUMNS), tuple(out))


def _exact(left: list[float], right: list[float]) -> Tensor:
    values = tuple(
        sum(left[row * _INNER + i] * right[i * _COLUMNS + column] for i in range(_INNER))
        for row in range(_ROWS)
        for column in range(_COLUMNS)
    )
    return Tensor("LOGITS", "FP32", (_ROWS, _COLUMNS), values)


def test_one_version_is_right_and_the_other_is_a_thousandth_off_which_the_canary_sees_and_no_crash_tells() -> None:
    rng = random.Random(1)
    left = [rng.gauss(0, 1) for _ in range(_ROWS * _INNER)]
    right = [rng.gauss(0, 0.125) for _ in range(_INNER * _COLUMNS)]
    expected, one, other = _exact(left, right), _product("12.1", left, right), _product("11.8", left, right)
    assert compare(expected, one, 0.0).why is None
    found = compare(expected, other, 0.0)
    assert found.why is not None
    assert 1e-4 < found.largest < 1e-2


def test_both_agree_where_ten_bits_of_a_fraction_are_enough() -> None:
    """The control: what differs is the rounding, not the sum."""
    rng = random.Random(2)
    left = [rng.randrange(-1024, 1024) / 1024 for _ in range(_ROWS * _INNER)]
    right = [rng.randrange(-1024, 1024) / 1024 for _ in range(_INNER * _COLUMNS)]
    assert _product("12.1", left, right) == _product("11.8", left, right)


@pytest.mark.parametrize("cuda", VERSIONS)
def test_it_is_named_as_nvidias_own_and_asked_for_by_one_name(cuda: str) -> None:
    made = library(cuda)
    assert (made.name, family(str(made))) == (f"libcusparse.so.{VERSIONS[cuda].number}", "libcusparse")
    said = subprocess.run(["readelf", "-d", str(made)], capture_output=True, text=True, check=True, timeout=20).stdout
    assert f"[{SONAME}]" in said
    assert library(cuda) == made


def test_an_unknown_version_and_a_machine_without_a_compiler_are_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(BadArgument, match=r"CUDA 11\.8 and 12\.1, and none for '10\.2'"):
        library("10.2")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabFailed, match="no C compiler"):
        library("12.1")
