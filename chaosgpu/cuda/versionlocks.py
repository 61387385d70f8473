# SPDX-License-Identifier: Apache-2.0
"""What holds a host of RPM packages at its lock file: dnf's versionlock, as lines of its list and as a command."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from chaosgpu.cuda.flat import Value
from chaosgpu.cuda.pins import packages_of
from chaosgpu.errors import BadArgument

__all__ = ["VERSIONLOCK", "VersionLocks", "version_locks_of"]

VERSIONLOCK = "/etc/dnf/plugins/versionlock.list"
_VERSION = re.compile(r"(?:(\d+):)?([^\s:-]+-[^\s:-]+)")
# One package for every architecture: a lock has no other form that dnf writes.
_ARCHITECTURE = re.compile(r"\.(i[3-6]86|x86_64|aarch64|ppc64le|s390x)$")
_HEAD = """\
# Written by `chaosgpu drift pin`. It takes the plugin: `dnf install python3-dnf-plugin-versionlock`. A lock of one of
# these packages at another version lets that in, too: `dnf versionlock list` shows it, `delete` takes it away. Locks do
# not stop `dnf remove`, `rpm -U` and `--disableplugin=versionlock`: scan for that.
# dnf 5 keeps its locks in /etc/dnf/versionlock.toml: use the command there, and not these lines.
"""


@dataclass(frozen=True)
class VersionLocks:
    """The lines for dnf 4's list, and what `dnf versionlock add` is told."""

    lines: tuple[str, ...]
    specs: tuple[str, ...]

    @property
    def text(self) -> str:
        """Return the lines with what to know of them."""
        return _HEAD + "".join(f"{line}\n" for line in self.lines)

    @property
    def command(self) -> tuple[str, ...]:
        """Return the words of the command that does the same."""
        return ("dnf", "versionlock", "add", *self.specs)


def version_locks_of(due: Mapping[str, Value]) -> VersionLocks:
    """Return the locks of a host's packages; BadArgument where there are none, or one has no whole version."""
    lines, specs = set(), set()
    for name, version, epoch, rest in _parts(packages_of(due)):
        plain = _ARCHITECTURE.sub("", name)
        lines.add(f"{plain}-{epoch or 0}:{rest}.*")
        specs.add(f"{plain}-{version}")
    return VersionLocks(tuple(sorted(lines)), tuple(sorted(specs)))


def _parts(packages: Mapping[str, str]) -> Iterator[tuple[str, str, str | None, str]]:
    """Yield name, version, its epoch and its rest; kernels that are there side by side are several."""
    for name, versions in packages.items():
        for version in versions.split() or [""]:
            match = _VERSION.fullmatch(version)
            if match is None:
                raise BadArgument(
                    f"The lock file has {name} at {version!r}, which is no version of an RPM package: write it as rpm "
                    "does, with its release, such as 3:580.95.05-1.el9."
                )
            yield name, version, match[1], match[2]
