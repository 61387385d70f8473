# SPDX-License-Identifier: Apache-2.0
"""A host whose packages are RPM's, as a site: what plays on it, and the repository that it can reach."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.hosts import Bench
from bench.playing import Played, Player
from bench.rpm_packages import installed, served, use
from support.rpms import evr

if TYPE_CHECKING:
    import subprocess

__all__ = ["NAMED", "Site", "at", "wanted"]

NAMED = ("nvidia-open", "nvidia-fabricmanager")


class Site:
    """The host with what plays on it and the repository that it can reach."""

    def __init__(self, bench: Bench, built: Path, folder: Path) -> None:
        self.bench, self.host = bench, bench.hosts[0]
        self._player = Player(bench, folder)
        self._open = ExitStack()
        self._open.enter_context(served(bench, built))
        use(bench, self.host)

    def provision(self, version: str, *options: str, **variables: Any) -> Played:
        """Bring the host to a version."""
        given = {"chaosgpu_packages": wanted(version), **variables}
        return self._player.play("provision", *options, user="root", **given)

    def start(self, version: str) -> "subprocess.Popen[str]":
        """Start that, and return its process."""
        return self._player.start("provision", user="root", chaosgpu_packages=wanted(version))

    def kill(self) -> None:
        """Kill the controller with all that it has started here."""
        self._player.kill()

    def play(self, name: str, *options: str, **variables: Any) -> Played:
        """Play another one."""
        return self._player.play(name, *options, user="root", **variables)

    def cut_off(self) -> None:
        """Have no repository any more."""
        self._open.close()

    def versions(self) -> list[str]:
        """Return the versions of what is named."""
        return [installed(self.host, name) for name in NAMED]


def wanted(version: str) -> dict[str, str]:
    """Return a lock as a site has it: with the epoch where the package has one."""
    return {name: evr(name, version) for name in NAMED}


def at(version: str) -> list[str]:
    """Return what `versions` gives where the host is as that lock has it."""
    return [evr(name, version) for name in NAMED]
