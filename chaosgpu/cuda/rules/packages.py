# SPDX-License-Identifier: Apache-2.0
"""Whether the driver's packages stay where they are: holds, pins, unattended upgrades, and half installed ones."""

import re
from collections.abc import Iterator

from chaosgpu.cuda.compatibility import Compatibility
from chaosgpu.cuda.facts import Facts
from chaosgpu.cuda.rules.dnf import of_dnf
from chaosgpu.cuda.rules.finding import Finding, Level
from chaosgpu.fleet.values import JsonObject, JsonValue

__all__ = ["judge"]

_GUARDS = "chaosgpu: each of hold and pin was tried with apt 2.6.1 (measured)"
_UPGRADES = "lyulyul/shine-cluster issues 30 and 50, pando85/homelab pull request 4110 (reported)"


def judge(facts: Facts, data: Compatibility) -> Iterator[Finding]:  # noqa: ARG001 (every subject is asked alike)
    """Judge what holds the packages of the driver."""
    section, apt = facts.section("packages"), facts.section("apt")
    installed = section.get("installed")
    driver = facts.text("driver", "package_name")
    by_rpm = section.get("manager") == "rpm"
    yield from _broken(facts, section.get("broken"), by_rpm=by_rpm)
    if not isinstance(installed, dict) or driver is None:
        return
    if by_rpm:
        yield from of_dnf(facts, driver)
        return
    holds = section.get("holds")
    held = isinstance(holds, list) and driver in holds
    pinned = any(_concerns_driver(pin, driver) for pin in _listed(apt.get("pins")))
    if apt.get("unattended_upgrades") is True and not held and not pinned:
        yield Finding(
            facts.host, "upgrades-by-itself", Level.RISK, ("apt.unattended_upgrades", "apt.holds", "apt.pins"),
            f"Unattended upgrades are on, and nothing holds {driver}: one night the library changes under a module "
            "that stays, and no new process gets a GPU. Pin and hold the driver.",
            _UPGRADES,
        )  # fmt: skip
    elif held != pinned:
        alone, other = ("held", "pin") if held else ("pinned", "hold")
        yield Finding(
            facts.host, "held-by-half", Level.RISK, ("apt.holds", "apt.pins"),
            f"{driver} is {alone}, but there is no {other}: each alone lets something through. Use both.",
            _GUARDS,
        )  # fmt: skip


def _listed(value: JsonValue) -> list[JsonObject]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _concerns_driver(pin: JsonObject, package: str) -> bool:
    """Tell whether a record of apt's preferences names the package, by name, by a pattern, or by its source."""
    for name in str(pin.get("package")).split():
        pattern = name.removeprefix("src:").removesuffix(":any")
        inside = re.compile(re.escape(pattern).replace(r"\*", ".*"))
        if inside.fullmatch(package) or (name.startswith("src:") and "nvidia" in pattern):
            return True
    return False


def _broken(facts: Facts, broken: JsonValue, *, by_rpm: bool) -> Iterator[Finding]:
    manager, mend = ("dpkg", "dpkg --configure -a, then apt-get -f install")
    if by_rpm:
        manager, mend = "rpm", "dnf check, then dnf remove --duplicates"
    for name, state in broken.items() if isinstance(broken, dict) else ():
        yield Finding(
            facts.host, "half-installed", Level.BREAKS, (f"broken.{name}",),
            f"{manager} left {name} {state}: the next installation fails. Run {mend}.",
            f"chaosgpu: {manager}'s own state",
        )  # fmt: skip
