# SPDX-License-Identifier: Apache-2.0
"""Whether the TensorRT that is there loads the engines that are on the disk."""

from collections.abc import Iterator

from chaosgpu.cuda.compatibility import Compatibility
from chaosgpu.cuda.facts import Facts
from chaosgpu.cuda.rules.finding import Finding, Level
from chaosgpu.cuda.rules.services import files_of
from chaosgpu.cuda.versions import numbers
from chaosgpu.errors import BadArgument

__all__ = ["judge"]


def judge(facts: Facts, data: Compatibility) -> Iterator[Finding]:  # noqa: ARG001 (every subject is asked alike)
    """Compare engines with every TensorRT that a service has loaded or an environment has."""
    there = dict(_runtimes(facts))
    for path, engine in facts.section("engines").items():
        built = engine.get("tensorrt") if isinstance(engine, dict) else None
        if isinstance(built, str) and there and not any(_loads(one, built) for one in there):
            runtimes = ", ".join(f"{version} ({key})" for version, key in there.items())
            yield Finding(
                facts.host, "engine-of-another-tensorrt", Level.BREAKS, (f"engines.{path}.tensorrt", *there.values()),
                f"{path} was built by TensorRT {built}, and there is {runtimes}: it does not load. Build it anew.",
                "chaosgpu: an engine is of one TensorRT unless it was built to be compatible (known)",
            )  # fmt: skip


def _runtimes(facts: Facts) -> Iterator[tuple[str, str]]:
    for name, environment in facts.section("environments").items():
        packages = environment.get("packages") if isinstance(environment, dict) else None
        for package, version in packages.items() if isinstance(packages, dict) else ():
            if package == "tensorrt" or package.startswith("tensorrt-cu"):
                yield str(version), f"environments.{name}.packages.{package}"
    for service, families in facts.section("services").items():
        for one in files_of(families, "libnvinfer"):
            yield str(one.get("version")), f"services.{service}.libnvinfer"


def _loads(runtime: str, built: str) -> bool:
    """Tell whether a TensorRT loads an engine: of its own version, which a library's name may tell in fewer numbers."""
    try:
        mine, other = numbers(runtime), numbers(built)
    except BadArgument:
        return True  # a version that we cannot read is no reason to say that something breaks
    shorter = min(len(mine), len(other))
    return mine[:shorter] == other[:shorter]
