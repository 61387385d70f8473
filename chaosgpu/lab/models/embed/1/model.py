# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: INP001 (Triton's Python backend finds these files by their folder)
"""The lab's embedding model: bytes of text in, a vector of length 1 out; texts that share words lie near each other."""

import json
import time

import numpy as np
import triton_python_backend_utils as pb_utils

_WIDTH = 32
_GRAM = 4
_DIRECTIONS = 4096


class TritonPythonModel:
    """One instance. It needs no GPU."""

    def initialize(self, args: "dict[str, str]") -> None:
        """Read the time that one request takes."""
        parameters = json.loads(args["model_config"])["parameters"]
        self.work_s = float(parameters["work_ms"]["string_value"]) / 1000
        rng = np.random.default_rng(int(parameters["seed"]["string_value"]))
        self.directions = rng.standard_normal((_DIRECTIONS, _WIDTH))
        self.mix = rng.integers(1, 2**31, _GRAM)

    def execute(self, requests: "list[pb_utils.InferenceRequest]") -> "list[pb_utils.InferenceResponse]":
        """Answer each request; a batch takes as long as one."""
        finish = time.monotonic() + self.work_s
        responses = []
        for request in requests:
            tokens = pb_utils.get_input_tensor_by_name(request, "TOKENS").as_numpy()
            vectors = np.stack([self._embed(row) for row in tokens]).astype(np.float32)
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("EMBEDDING", vectors)]))
        time.sleep(max(0.0, finish - time.monotonic()))
        return responses

    def _embed(self, tokens: np.ndarray) -> np.ndarray:
        """Add up a direction for each run of four bytes: what two texts have in common points the same way."""
        row = np.pad(tokens.astype(np.int64), (0, max(0, _GRAM - len(tokens))))
        grams = np.lib.stride_tricks.sliding_window_view(row, _GRAM)
        total = self.directions[(grams @ self.mix >> 7) % _DIRECTIONS].sum(axis=0)
        return total / np.linalg.norm(total)
