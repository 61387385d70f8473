# SPDX-License-Identifier: Apache-2.0
"""Whether dnf moves the driver by itself: a lock of versionlock is hold and pin at once, and so is an exclude."""

from collections.abc import Iterator
from fnmatch import fnmatchcase

from chaosgpu.cuda.facts import Facts
from chaosgpu.cuda.rules.finding import Finding, Level
from chaosgpu.fleet.values import JsonValue

__all__ = ["of_dnf"]

_KEYS = ("apt.unattended_upgrades", "apt.holds", "apt.pins")
# Each leaves open, while it is unknown, whether the driver moves.
_ASKED = ("apt.unattended_upgrades", "apt.blacklist", "apt.pins", "packages.holds")
_SOURCE = "chaosgpu: locks and excludes were tried with dnf 4.14 (measured)"
_READ = "chaosgpu: what the host could not read"
# Of a pattern such as nvidia-driver*.x86_64.
_ARCHITECTURES = (".x86_64", ".aarch64")


def of_dnf(facts: Facts, driver: str) -> Iterator[Finding]:
    """Judge what holds the driver's package where dnf installs updates by itself, or may."""
    section, moves = facts.section("packages"), facts.section("apt")
    pins = [one for one in _listed(moves.get("pins")) if isinstance(one, dict)]
    names = {str(one.get("repository", "")) for one in pins if _fits(one.get("package"), driver)}
    if driver in _listed(section.get("holds")) or "" in names:
        return
    if any(_fits(pattern, driver) for pattern in _listed(moves.get("blacklist"))):
        return  # for these updates alone, but there are no others by themselves
    applies = moves.get("unattended_upgrades")
    whys = dict.fromkeys(facts.unknown[key] for key in _ASKED if key in facts.unknown)
    if whys and (applies is True or _ASKED[0] in facts.unknown):
        yield Finding(
            facts.host, "upgrades-by-itself", Level.UNKNOWN, _KEYS,
            f"Whether dnf moves {driver} by itself is not known: {'; '.join(whys)}.",
            _READ,
        )  # fmt: skip
    elif applies is True:
        yield _moves(facts, driver, sorted(names))


def _moves(facts: Facts, driver: str, repositories: list[str]) -> Finding:
    """Say that it moves, also where some repositories alone are kept from it: another may have the package."""
    held = f"nothing holds {driver}"
    if repositories:
        held = f"{driver} is excluded from {', '.join(repositories)} only, and any other repository may bring it"
    return Finding(
        facts.host, "upgrades-by-itself", Level.RISK, _KEYS,
        f"dnf-automatic installs updates, and {held}: one night the library changes under a module that stays, and no "
        f"new process gets a GPU. Lock the driver: dnf versionlock add {driver}, with all that is built with it.",
        _SOURCE,
    )  # fmt: skip


def _fits(pattern: JsonValue, driver: str) -> bool:
    """Tell whether an exclude leaves out every version of the package, and not only some."""
    if not isinstance(pattern, str):
        return False
    name = next((pattern.removesuffix(end) for end in _ARCHITECTURES if pattern.endswith(end)), pattern)
    return fnmatchcase(driver, name)


def _listed(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else []
