# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: INP001 (Triton's Python backend finds these files by their folder)
"""The product of two matrices: numpy's, or that of a CUDA library which is found as a real model finds its own."""

import ctypes
import os
from collections.abc import Callable

import numpy as np

LIBRARY = "LAB_NUMERICS_LIBRARY"  # the name to ask the loader for, such as libcusparse.so.12; by default none

Product = Callable[[np.ndarray, np.ndarray], np.ndarray]


def product() -> Product:
    """Return what multiplies: which library that is, the search path of this process decides."""
    name = os.environ.get(LIBRARY)
    return np.matmul if name is None else _of(ctypes.CDLL(name))


def _of(library: ctypes.CDLL) -> Product:
    matrix = np.ctypeslib.ndpointer(np.float32, ndim=2, flags="C_CONTIGUOUS")
    library.lab_product.argtypes = [matrix, matrix, matrix, ctypes.c_int, ctypes.c_int, ctypes.c_int]
    library.lab_product.restype = None

    def multiply(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        rows, inner = left.shape
        out = np.empty((rows, right.shape[1]), dtype=np.float32)
        library.lab_product(np.ascontiguousarray(left, np.float32), right, out, rows, inner, right.shape[1])
        return out

    return multiply
