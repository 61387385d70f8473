# SPDX-License-Identifier: Apache-2.0
"""Whether the NVIDIA wheels of an environment are those that its PyTorch was built with, and of one CUDA."""

import re
from collections.abc import Iterator

from chaosgpu.cuda.compatibility import Compatibility, PytorchBuild
from chaosgpu.cuda.facts import Facts
from chaosgpu.cuda.rules.finding import Finding, Level
from chaosgpu.fleet.values import JsonObject

__all__ = ["judge"]

_OF_CUDA = re.compile(r"nvidia-.+-cu(\d+)")


def judge(facts: Facts, data: Compatibility) -> Iterator[Finding]:
    """Judge every environment that was looked at."""
    for name, environment in facts.section("environments").items():
        packages = environment.get("packages") if isinstance(environment, dict) else None
        if isinstance(packages, dict):
            yield from _mixed(facts, name, packages)
            yield from _torch(facts, data, name, packages)


def _mixed(facts: Facts, name: str, packages: JsonObject) -> Iterator[Finding]:
    majors = sorted({match.group(1) for package in packages if (match := _OF_CUDA.fullmatch(package))})
    if len(majors) > 1:
        yield Finding(
            facts.host, "wheels-of-two-cudas", Level.RISK, (f"environments.{name}",),
            f"The environment {name} has NVIDIA wheels of CUDA {' and '.join(majors)}: two libraries of one name "
            "may be loaded into one process. Make the environment anew.",
            "chaosgpu: the names of the wheels",
        )  # fmt: skip


def _torch(facts: Facts, data: Compatibility, name: str, packages: JsonObject) -> Iterator[Finding]:
    torch = packages.get("torch")
    build = _build(data, str(torch)) if torch is not None else None
    for wheel, due in build.wheels.items() if build is not None else ():
        found = packages.get(wheel)
        if build is not None and found is not None and found != due:
            yield Finding(
                facts.host, "not-what-torch-was-built-with", Level.RISK,
                (f"environments.{name}.packages.torch", f"environments.{name}.packages.{wheel}"),
                f"torch {torch} was built with {wheel} {due}, and the environment {name} has {found}: other kernels, "
                "slightly other answers, or a symbol that is not there.",
                data.cited(build.source),
            )  # fmt: skip


def _build(data: Compatibility, torch: str) -> PytorchBuild | None:
    """Return the row of a release's wheel; a row of a build is of one day of the main branch, and judges none."""
    return next((entry for entry in data.pytorch if entry.torch is not None and entry.torch == torch), None)
