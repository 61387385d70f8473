# SPDX-License-Identifier: Apache-2.0
"""What holds a host at its lock file: apt's preferences, and packages to hold; each alone lets something through."""

from collections.abc import Mapping
from dataclasses import dataclass

from chaosgpu.cuda.flat import Value
from chaosgpu.errors import BadArgument

__all__ = ["PREFERENCES", "Pins", "packages_of", "pins_of"]

# The name is before those of others, since of two records for one package the first counts.
PREFERENCES = "/etc/apt/preferences.d/00-chaosgpu"
# Over 1000, so that apt goes back to it, too.
_PRIORITY = 1001
_HEAD = """\
# Written by `chaosgpu drift pin`. Hold the packages as well: a pin alone lets `apt-get install NAME=VERSION`, a package
# as a file and a removal through. `--allow-change-held-packages` and `dpkg -i` pass both: scan for that.
"""


@dataclass(frozen=True)
class Pins:
    """The text of the preferences, and the packages to hold."""

    preferences: str
    holds: tuple[str, ...]


def packages_of(due: Mapping[str, Value]) -> dict[str, str]:
    """Return the version of each locked package of a host; BadArgument where the lock names none."""
    packages = {key.removeprefix("packages."): str(value) for key, value in due.items() if key.startswith("packages.")}
    for what in ("driver.package", "driver.module_package"):
        if f"{what}_name" in due and what in due:
            packages[str(due[f"{what}_name"])] = str(due[what])
    if not packages:
        raise BadArgument("The lock file names no packages for this host, so there is nothing to pin.")
    return packages


def pins_of(due: Mapping[str, Value]) -> Pins:
    """Return the pins of a host's locked packages; BadArgument where the lock names none."""
    packages = packages_of(due)
    by_version: dict[str, list[str]] = {}
    for name, version in packages.items():
        by_version.setdefault(version, []).append(name)
    records = [
        f"Package: {' '.join(sorted(names))}\nPin: version {version}\nPin-Priority: {_PRIORITY}\n"
        for version, names in sorted(by_version.items())
    ]
    return Pins(_HEAD + "\n" + "\n".join(records), tuple(sorted(packages)))
