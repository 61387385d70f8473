# SPDX-License-Identifier: Apache-2.0
"""A test host whose packages are changed: what is left of a change, or of one that was never recorded."""

import shutil
import subprocess
from pathlib import Path

from crash import package_look, unit_world
from crash.unit_victims import Victim
from crash.unit_world import UnitWorld

__all__ = ["PackageWorld", "build"]

_READY_WITHIN_S = 60.0
_PASSING = Path("/tmp")  # noqa: S108 (where programs put what they need for a moment)
_OURS = ("chaosgpu-*", "dpkg-deb.*")


class PackageWorld(UnitWorld):
    """The agent's home lies on a disk: what is needed for the way back must outlive a reboot, and memory is refused."""

    def renew(self) -> None:
        """Begin without what the last change has kept."""
        super().renew()
        for folder in (self.home / "packages", *_passing()):
            shutil.rmtree(folder, ignore_errors=True)

    def left(self) -> list[str]:
        """Name who is still at work, and what was fetched for a change that has ended, recorded or not."""
        passing = [str(path) for path in _passing()]
        return [*super().left(), *package_look.at_work(), *self._fetched(), *passing]

    def _fetched(self) -> list[str]:
        """Name package files; of a change that was never recorded everything, since nobody asks how the host was."""
        folder = self.home / "packages" / self.lease
        if (self.lease_folder / "undo").exists():
            return package_look.kept(folder)
        return [str(folder)] if folder.exists() else []


def _passing() -> list[Path]:
    return [path for name in _OURS for path in _PASSING.glob(name)]


def build(folder: Path, fault: str, victim: Victim) -> UnitWorld:
    """Make the packages ready, start the unit beside them, and make a host of it."""
    subprocess.run(["sh", "-c", victim.packages], check=True, timeout=_READY_WITHIN_S, stdout=subprocess.DEVNULL)
    return unit_world.build(folder, fault, victim, PackageWorld, package_look.look)
