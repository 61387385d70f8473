# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: INP001 (Triton's Python backend finds these files by their folder)
"""Triton's side of the lab's text model: every request keeps a KV cache in GPU memory while it is worked on."""

import json
import os
import time
from dataclasses import dataclass

import numpy as np
import triton_python_backend_utils as pb_utils
from cache import DirectCache, NoMemory, PooledCache, Ticket
from preallocated import SHARE, PreallocatedCache
from text import TextModel
from vram import CudaError, Gpu


@dataclass(frozen=True)
class Settings:
    """The `parameters` of the model's configuration."""

    library: str
    gpu: str
    seed: int
    kv_bytes_per_token: int
    base_ms: float
    ms_per_token: float
    max_wait_s: "float | None"
    arena_bytes: int
    gpu_iterations: int  # of the kernel, for each batch; 0: the GPU lends memory and does not compute

    @classmethod
    def read(cls, config: str) -> "Settings":
        """Read the parameters; `max_wait_s` below zero means: wait without end."""
        values = {name: entry["string_value"] for name, entry in json.loads(config)["parameters"].items()}
        max_wait_s = float(values["max_wait_s"])
        return cls(
            library=values["cuda_library"],
            gpu=values["gpu"],
            seed=int(values["seed"]),
            kv_bytes_per_token=int(values["kv_bytes_per_token"]),
            base_ms=float(values["base_ms"]),
            ms_per_token=float(values["ms_per_token"]),
            max_wait_s=None if max_wait_s < 0 else max_wait_s,
            arena_bytes=int(values["arena_bytes"]),
            gpu_iterations=int(values.get("gpu_iterations", "0")),
        )


class TritonPythonModel:
    """One instance: one process, one CUDA context, one request (or one formed batch) at a time."""

    def initialize(self, args: "dict[str, str]") -> None:
        """Take the GPU and make the weights; an error here is the reason that Triton's load answer gives."""
        self.settings = Settings.read(args["model_config"])
        self.model = TextModel(self.settings.seed)
        self.gpu = Gpu(self.settings.library, self.settings.gpu)
        self.cache = self._cache(args)
        self.gauges = self._gauges(args, self._figures())
        self._show()

    def execute(self, requests: "list[pb_utils.InferenceRequest]") -> "list[pb_utils.InferenceResponse]":
        """Take every request's cache, work for as long as the longest needs, answer, give the caches back."""
        tickets = [self._take(request) for request in requests]
        running = [request for request, ticket in zip(requests, tickets, strict=True) if isinstance(ticket, Ticket)]
        longest = max((self._tokens(request).shape[1] for request in running), default=0)
        finish = time.monotonic() + (self.settings.base_ms + self.settings.ms_per_token * longest) / 1000
        responses = [
            self._answer(request) if isinstance(ticket, Ticket) else _refusal(ticket)
            for request, ticket in zip(requests, tickets, strict=True)
        ]
        if running:
            if self.settings.gpu_iterations:
                self.gpu.compute(self.settings.gpu_iterations)
            time.sleep(max(0.0, finish - time.monotonic()))
        for request, ticket in zip(requests, tickets, strict=True):
            if isinstance(ticket, Ticket):
                self._end(request, ticket)
        self._show()
        return responses

    def finalize(self) -> None:
        """Leave the GPU as it was found."""
        self.cache.close()
        self.gpu.close()

    def _take(self, request: "pb_utils.InferenceRequest") -> "Ticket | str":
        size = self._tokens(request).size * self.settings.kv_bytes_per_token
        try:
            return self.cache.take(size, self.settings.max_wait_s)
        except (NoMemory, CudaError) as error:
            return str(error)

    def _answer(self, request: "pb_utils.InferenceRequest") -> "pb_utils.InferenceResponse":
        try:
            logits, texts = self.model.answer(self._tokens(request))
        except ValueError as error:
            return _refusal(str(error))
        words = np.array([[text.encode()] for text in texts], dtype=np.object_)
        return pb_utils.InferenceResponse([pb_utils.Tensor("LOGITS", logits), pb_utils.Tensor("TEXT", words)])

    def _end(self, request: "pb_utils.InferenceRequest", ticket: Ticket) -> None:
        keep = pb_utils.get_input_tensor_by_name(request, "KEEP_S")
        if keep is not None and isinstance(self.cache, PooledCache) and float(keep.as_numpy().max()) > 0:
            self.cache.keep(ticket, float(keep.as_numpy().max()))
        else:
            self.cache.give_back(ticket)

    @staticmethod
    def _tokens(request: "pb_utils.InferenceRequest") -> np.ndarray:
        return pb_utils.get_input_tensor_by_name(request, "TOKENS").as_numpy()

    def _cache(self, args: "dict[str, str]") -> "DirectCache | PooledCache | PreallocatedCache":
        """Choose how memory is taken: from a pool, from a share taken now, or for each request anew."""
        if self.settings.arena_bytes > 0:
            return PooledCache(self.gpu, self.settings.arena_bytes)
        if SHARE in os.environ:
            instances = int(json.loads(args["model_config"])["instance_group"][0]["count"])
            per_token = self.settings.kv_bytes_per_token
            return PreallocatedCache(self.gpu, float(os.environ[SHARE]), instances, per_token)
        return DirectCache(self.gpu)

    def _figures(self) -> "dict[str, tuple[str, int]]":
        """Return what the cache tells of itself: the name on the metrics page, what it is, its value now."""
        if isinstance(self.cache, PooledCache):
            pool = self.cache.pool
            return {
                "lab_pool_free_bytes": ("Free bytes in the model's own pool", pool.free_bytes()),
                "lab_pool_largest_free_bytes": ("Largest piece of them in one place", pool.largest_free_bytes()),
            }
        if isinstance(self.cache, PreallocatedCache):
            return {
                "lab_kv_cache_blocks": ("Blocks of the KV cache taken at start", self.cache.blocks),
                "lab_kv_cache_free_blocks": ("Free ones among them", self.cache.free_blocks),
            }
        return {}

    @staticmethod
    def _gauges(args: "dict[str, str]", figures: "dict[str, tuple[str, int]]") -> "dict[str, object]":
        """Make these figures visible on Triton's own metrics page."""
        labels = {"model": args["model_name"], "instance": args["model_instance_name"]}
        gauges = {}
        for name, (what, _) in figures.items():
            family = pb_utils.MetricFamily(name=name, description=what, kind=pb_utils.MetricFamily.GAUGE)
            gauges[name] = (family, family.Metric(labels=labels))
        return gauges

    def _show(self) -> None:
        for name, (_, value) in self._figures().items():
            self.gauges[name][1].set(value)


def _refusal(why: str) -> "pb_utils.InferenceResponse":
    return pb_utils.InferenceResponse(output_tensors=[], error=pb_utils.TritonError(why))
