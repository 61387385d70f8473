# SPDX-License-Identifier: Apache-2.0
"""Writes the model repository: one body of code, two models (`chat`, and `chat_pooled` with its own allocator)."""

import shutil
from pathlib import Path

from chaosgpu.lab.gpus import LabGpu
from chaosgpu.lab.variants import Variant, kv_bytes_per_token

__all__ = ["write_repository"]

_MODELS = Path(__file__).parent / "models"
_CODE = _MODELS / "chat" / "1"
_INSTANCES = 4
_SEED = 20260101
# The pool's arena: two percent of the GPU, taken when `chat_pooled` is loaded.
_ARENA_SHARE = 0.02

# A question with three documents is some 150 bytes: four instances then answer about 30 a second.
_PIPELINE_PACE_MS = "0.8"
# With work for the GPU: some 80 ms of an H100 at its full clock for each batch: the traffic takes two thirds of it.
_GPU_ITERATIONS = 9_900_000

_EMBED = f"""name: "embed"
backend: "python"
max_batch_size: 16
input [ {{ name: "TOKENS" data_type: TYPE_INT32 dims: [ -1 ] }} ]
output [ {{ name: "EMBEDDING" data_type: TYPE_FP32 dims: [ 32 ] }} ]
instance_group [ {{ count: 2 kind: KIND_CPU }} ]
parameters [
  {{ key: "seed" value: {{ string_value: "{_SEED}" }} }},
  {{ key: "work_ms" value: {{ string_value: "5" }} }}
]
"""
_INPUT = '{ name: "TOKENS" data_type: TYPE_INT32 dims: [ -1 ] }'
_KEEP = '{ name: "KEEP_S" data_type: TYPE_FP32 dims: [ 1 ] optional: true }'
_OUTPUT = '{ name: "LOGITS" data_type: TYPE_FP32 dims: [ 32 ] }, { name: "TEXT" data_type: TYPE_STRING dims: [ 1 ] }'


def write_repository(
    directory: Path, variant: Variant, gpu: LabGpu, cuda_library: str, *, pipeline: bool = False, gpu_work: bool = False
) -> None:
    """Write both models for one GPU; `chat` is loaded at start, `chat_pooled` on demand. A pipeline also embeds."""
    for model, arena in (("chat", 0), ("chat_pooled", int(gpu.memory_bytes * _ARENA_SHARE))):
        folder = directory / model
        shutil.copytree(_CODE, folder / "1", ignore=shutil.ignore_patterns("__pycache__"))
        parameters = {
            "cuda_library": cuda_library,
            "gpu": gpu.uuid,
            "seed": str(_SEED),
            "kv_bytes_per_token": str(kv_bytes_per_token(gpu.memory_bytes)),
            "base_ms": "10",
            "ms_per_token": _PIPELINE_PACE_MS if pipeline else "0.5",
            "max_wait_s": "-1" if variant.max_wait_s is None else f"{variant.max_wait_s:g}",
            "arena_bytes": str(arena),
            "gpu_iterations": str(_GPU_ITERATIONS if gpu_work else 0),
        }
        (folder / "config.pbtxt").write_text(_config(model, variant, parameters, pooled=arena > 0))

    if pipeline:
        shutil.copytree(_MODELS / "embed", directory / "embed", ignore=shutil.ignore_patterns("__pycache__"))
        (directory / "embed" / "config.pbtxt").write_text(_EMBED)


def _config(model: str, variant: Variant, parameters: dict[str, str], *, pooled: bool) -> str:
    entries = ",\n".join(
        f'  {{ key: "{key}" value: {{ string_value: "{value}" }} }}' for key, value in parameters.items()
    )
    lines = [
        f'name: "{model}"',
        'backend: "python"',
        "max_batch_size: 16",
        f"input [ {_INPUT}{', ' + _KEEP if pooled else ''} ]",
        f"output [ {_OUTPUT} ]",
        f"instance_group [ {{ count: {1 if pooled else _INSTANCES} kind: KIND_CPU }} ]",
        f"parameters [\n{entries}\n]",
    ]
    if variant.max_queue_size is not None:
        # Triton keeps queue policies in the dynamic batcher; with no delay it only groups what already waits.
        lines.append(
            "dynamic_batching { default_queue_policy { timeout_action: REJECT "
            f"default_timeout_microseconds: {variant.queue_timeout_us} max_queue_size: {variant.max_queue_size} }} }}"
        )
    return "\n".join(lines) + "\n"
