# SPDX-License-Identifier: Apache-2.0
"""Whether a service has loaded each library once, from a file that is there, and of a CUDA that the driver runs."""

from collections.abc import Iterator

from chaosgpu.cuda.compatibility import Compatibility
from chaosgpu.cuda.facts import Facts
from chaosgpu.cuda.rules.finding import Finding, Level
from chaosgpu.cuda.support import Support, driver_supports
from chaosgpu.fleet.values import JsonObject, JsonValue

__all__ = ["files_of", "judge", "of_support"]

_SEARCH_PATH = "ragflow issue 4466, pytorch issue 134929, jax issues 28929 and 30050 (reported)"
_LEVELS = {
    Support.NONE: Level.BREAKS,
    Support.MINOR: Level.RISK,
    Support.FORWARD: Level.RISK,
    Support.UNKNOWN: Level.UNKNOWN,
}


def judge(facts: Facts, data: Compatibility) -> Iterator[Finding]:
    """Judge the libraries of every service that was looked at."""
    for service, families in facts.section("services").items():
        for family in families if isinstance(families, dict) else ():
            files = files_of(families, family)
            yield from _twice(facts, service, family, files)
            yield from _gone(facts, service, family, files)
            if family == "libcudart":
                yield from _cuda(facts, data, service, files)


def files_of(families: JsonValue, family: str) -> list[JsonObject]:
    """Return the files of one family that a service has loaded."""
    found = families.get(family) if isinstance(families, dict) else None
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _twice(facts: Facts, service: str, family: str, files: list[JsonObject]) -> Iterator[Finding]:
    if len(files) > 1:
        paths = " and ".join(str(one.get("path")) for one in files)
        yield Finding(
            facts.host, "library-loaded-twice", Level.BREAKS, (f"services.{service}.{family}",),
            f"{service} has loaded {family} {len(files)} times, from {paths}: which one a call reaches depends on the "
            "search path, and an undefined symbol or a wrong number follows. Take one out of LD_LIBRARY_PATH.",
            _SEARCH_PATH,
        )  # fmt: skip


def _gone(facts: Facts, service: str, family: str, files: list[JsonObject]) -> Iterator[Finding]:
    for one in files:
        if one.get("deleted") is True:
            yield Finding(
                facts.host, "library-replaced-under-it", Level.RISK, (f"services.{service}.{family}",),
                f"{service} runs on {one.get('path')}, which was replaced on the disk: it works until its next start, "
                "and then gets another one. Restart it on purpose.",
                "chaosgpu: the kernel's map of the process",
            )  # fmt: skip


def _cuda(facts: Facts, data: Compatibility, service: str, files: list[JsonObject]) -> Iterator[Finding]:
    driver = facts.text("driver", "module") or facts.text("driver", "library")
    versions = {".".join(str(one.get("version")).split(".")[:2]) for one in files}
    for cuda in sorted(version for version in versions if version.replace(".", "").isdecimal() and "." in version):
        found = of_support(facts, data, driver, cuda)
        if found is not None:
            yield Finding(
                facts.host, "driver-for-cuda", found[0], ("driver.module", f"services.{service}.libcudart"),
                f"{service} uses CUDA {cuda}: {found[1]}.",
                "the compatibility data",
            )  # fmt: skip


def of_support(facts: Facts, data: Compatibility, driver: str | None, cuda: str) -> tuple[Level, str] | None:
    """Judge the host's driver for a CUDA; None where all of it works."""
    if driver is None:
        return Level.UNKNOWN, f"whether the driver runs it is unknown, since {facts.why('driver', 'module')}"
    compat = facts.section("cuda").get("forward_compat")
    packages = {name: str(version) for name, version in compat.items()} if isinstance(compat, dict) else {}
    verdict = driver_supports(data, driver, cuda, packages)
    return None if verdict.support is Support.FULL else (_LEVELS[verdict.support], verdict.why)
