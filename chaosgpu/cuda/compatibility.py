# SPDX-License-Identifier: Apache-2.0
"""The compatibility data that ships with this program: dated, each entry with its source.

A test checks all of it, so that no scan has to load what checks it, which would take longer than the judging.
"""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal

import yaml

from chaosgpu.errors import ChaosGpuError
from chaosgpu.fleet.values import JsonObject

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
    "read_data",
]


@dataclass(frozen=True)
class Source:
    """Where a number is from, and how far it was checked."""

    title: str
    url: str
    evidence: Literal["measured", "read", "reported", "known"]


@dataclass(frozen=True)
class CudaDriver:
    """The driver that a CUDA toolkit was made for."""

    cuda: str
    driver: str
    source: str


@dataclass(frozen=True)
class MinorVersion:
    """The driver from which on any CUDA of a major version works with limits."""

    major: int
    driver: str
    source: str


@dataclass(frozen=True)
class ForwardCompat:
    """The driver branches on which the forward-compatibility package of a CUDA may stand."""

    cuda: str
    branches: list[int]
    source: str


@dataclass(frozen=True)
class TritonImage:
    """What is inside one Triton image."""

    release: str
    flavour: Literal["trtllm", "vllm"]
    cuda: str
    driver: str
    source: str
    tensorrt: str | None = None


@dataclass(frozen=True)
class PytorchBuild:
    """The NVIDIA wheels that a build of PyTorch was made with."""

    wheels: dict[str, str]
    source: str
    torch: str | None = None
    build: str | None = None
    cuda: str | None = None


@dataclass(frozen=True)
class ExactMatch:
    """A package that must be of exactly the driver's version."""

    package: str
    breaks: str
    source: str


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


# The same loader in C, where PyYAML was built with it.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_data(name: str) -> JsonObject:
    """Return what is in a file of this program's own data."""
    text = (resources.files("chaosgpu.cuda") / "data" / f"{name}.yaml").read_text(encoding="utf-8")
    found: JsonObject = yaml.load(text, _LOADER)  # noqa: S506 (a safe loader)
    return found


def _load[Entry](name: str, kind: Callable[..., Entry], sources: dict[str, Source]) -> tuple[dt.date, list[Entry]]:
    file: Any = read_data(name)
    try:
        sources.update({key: Source(**source) for key, source in file["sources"].items()})
        return file["recorded"], [kind(**entry) for entry in file["entries"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise ChaosGpuError(f"The compatibility data {name}.yaml of this installation is broken: {error}.") from error


@cache
def compatibility() -> Compatibility:
    """Return the data of this installation."""
    sources: dict[str, Source] = {}
    dates = []

    def load[Entry](name: str, kind: Callable[..., Entry]) -> list[Entry]:
        recorded, entries = _load(name, kind, sources)
        dates.append(recorded)
        return entries

    cuda, minor = load("cuda_driver", CudaDriver), load("minor_version", MinorVersion)
    forward, triton = load("forward_compat", ForwardCompat), load("triton", TritonImage)
    pytorch, exact = load("pytorch", PytorchBuild), load("exact_match", ExactMatch)
    return Compatibility(min(dates), sources, cuda, minor, forward, triton, pytorch, exact)
