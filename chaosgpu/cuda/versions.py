# SPDX-License-Identifier: Apache-2.0
"""Versions in order: those of drivers and CUDA by their numbers, those of Debian packages by Debian's own rule."""

import re
from functools import total_ordering

from chaosgpu.errors import BadArgument

__all__ = ["DebianVersion", "Numbers", "numbers", "upstream"]

_NUMBERS = re.compile(r"\d+(?:\.\d+)*")
_DEBIAN = re.compile(r"(?:(\d+):)?([A-Za-z0-9.+~:-]*?)(?:-([A-Za-z0-9.+~]*))?")
_PART = re.compile(r"(\D*)(\d*)")

type Numbers = tuple[int, ...]


def numbers(version: str) -> Numbers:
    """Return the numbers of a driver's or CUDA's version, without the zeros at the end: 12.8 is 12.8.0.

    Raises BadArgument where the text is no such version.
    """
    if not _NUMBERS.fullmatch(version):
        raise BadArgument(f"{version!r} is no version: it must be numbers with dots between them, such as 580.95.05.")
    found = [int(part) for part in version.split(".")]
    while len(found) > 1 and found[-1] == 0:
        found.pop()
    return tuple(found)


@total_ordering
class DebianVersion:
    """A package's version, in the order that dpkg gives it (deb-version(7))."""

    def __init__(self, text: str) -> None:
        match = _DEBIAN.fullmatch(text)
        if match is None or not match.group(2):
            raise BadArgument(f"{text!r} is no version of a Debian package.")
        self.text = text
        self.epoch = int(match.group(1) or 0)
        self.upstream = match.group(2)
        self.revision = match.group(3) or "0"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DebianVersion) and self._key == other._key

    def __lt__(self, other: "DebianVersion") -> bool:
        return self._key < other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> tuple[int, tuple[tuple[tuple[int, ...], int], ...], tuple[tuple[tuple[int, ...], int], ...]]:
        return self.epoch, _ordered(self.upstream), _ordered(self.revision)


def _ordered(text: str) -> tuple[tuple[tuple[int, ...], int], ...]:
    """Return letters and numbers in turn, so that Python's order of tuples is Debian's: `~` before the end, then."""
    found = []
    for letters, digits in _PART.findall(text):
        if letters or digits:
            found.append(((*(_weight(letter) for letter in letters), 0), int(digits or 0)))
    return (*found, ((0,), 0))


def _weight(letter: str) -> int:
    """Weigh a sign: `~` under the end of the text, which is 0; letters next, and all other signs after them."""
    if letter == "~":
        return -1
    return ord(letter) if letter.isalpha() else ord(letter) + 256


def upstream(package_version: str) -> str:
    """Return the driver's version in a package's: 580.95.05 of 580.95.05-0ubuntu1 and of 3:580.95.05-1.el9_6."""
    found = _NUMBERS.match(DebianVersion(package_version.replace("_", ".").replace("^", "+")).upstream)
    if found is None:
        raise BadArgument(f"The package version {package_version!r} does not begin with numbers.")
    return found.group()
