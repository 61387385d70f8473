# SPDX-License-Identifier: Apache-2.0
"""The compatibility data that ships with this program: dated, each entry with its source, checked while it is read."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from chaosgpu.errors import ChaosGpuError

__all__ = [
    "Compatibility",
    "CudaDriver",
    "ExactMatch",
    "ForwardCompat",
    "MinorVersion",
    "PytorchBuild",
    "Source",
    "TritonImage",
    "compatibility",
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Source(_Strict):
    """Where a number is from, and how far it was checked."""

    title: str
    url: str
    evidence: Literal["measured", "read", "reported", "known"]


class CudaDriver(_Strict):
    """The driver that a CUDA toolkit was made for."""

    cuda: str
    driver: str
    source: str


class MinorVersion(_Strict):
    """The driver from which on any CUDA of a major version works with limits."""

    major: int
    driver: str
    source: str


class ForwardCompat(_Strict):
    """The driver branches on which the forward-compatibility package of a CUDA may stand."""

    cuda: str
    branches: list[int]
    source: str


class TritonImage(_Strict):
    """What is inside one Triton image."""

    release: str
    flavour: Literal["trtllm", "vllm"]
    cuda: str
    driver: str
    tensorrt: str | None = None
    source: str


class PytorchBuild(_Strict):
    """The NVIDIA wheels that a build of PyTorch was made with."""

    torch: str | None = None
    build: str | None = None
    wheels: dict[str, str]
    cuda: str | None = None
    source: str


class ExactMatch(_Strict):
    """A package that must be of exactly the driver's version."""

    package: str
    breaks: str
    source: str


class _File[Entry](BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    recorded: dt.date
    sources: dict[str, Source]
    entries: list[Entry]


@dataclass(frozen=True)
class Compatibility:
    """All of it, and of what day the oldest of it is."""

    recorded: dt.date
    sources: Mapping[str, Source]
    cuda_drivers: Sequence[CudaDriver]
    minor_versions: Sequence[MinorVersion]
    forward_compat: Sequence[ForwardCompat]
    triton: Sequence[TritonImage]
    pytorch: Sequence[PytorchBuild]
    exact_match: Sequence[ExactMatch]

    def cited(self, source: str) -> str:
        """Return a source as the end of a sentence."""
        found = self.sources[source]
        return f"{found.title} ({found.evidence}, {self.recorded})"


def _load[Entry: _Strict](name: str, kind: type[Entry], sources: dict[str, Source]) -> tuple[dt.date, list[Entry]]:
    text = (resources.files("chaosgpu.cuda") / "data" / f"{name}.yaml").read_text(encoding="utf-8")
    try:
        file = _File[kind].model_validate(yaml.safe_load(text))  # type: ignore[valid-type]  # the class is a value here
    except ValidationError as error:
        raise ChaosGpuError(f"The compatibility data {name}.yaml of this installation is broken: {error}.") from error
    sources.update(file.sources)
    return file.recorded, list(file.entries)


@cache
def compatibility() -> Compatibility:
    """Return the data of this installation."""
    sources: dict[str, Source] = {}
    dates = []

    def load[Entry: _Strict](name: str, kind: type[Entry]) -> list[Entry]:
        recorded, entries = _load(name, kind, sources)
        dates.append(recorded)
        return entries

    cuda, minor = load("cuda_driver", CudaDriver), load("minor_version", MinorVersion)
    forward, triton = load("forward_compat", ForwardCompat), load("triton", TritonImage)
    pytorch, exact = load("pytorch", PytorchBuild), load("exact_match", ExactMatch)
    return Compatibility(min(dates), sources, cuda, minor, forward, triton, pytorch, exact)
