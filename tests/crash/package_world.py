# SPDX-License-Identifier: Apache-2.0
"""A test host whose packages are changed: what is left of a change, and what nobody looks at again."""

import shutil
import subprocess
from pathlib import Path

from crash import package_look, unit_world
from crash.unit_victims import Victim
from crash.unit_world import UnitWorld

__all__ = ["PackageWorld", "build"]

_READY_WITHIN_S = 60.0
_SCRATCH = Path("/tmp")  # noqa: S108 (where the agent asks apt in a folder of its own)


class PackageWorld(UnitWorld):
    """The agent's home lies on a disk: what is needed for the way back must outlive a reboot, and memory is refused."""

    def renew(self) -> None:
        """Begin without what the last change has kept."""
        super().renew()
        for folder in (self.home / "packages", *_SCRATCH.glob("chaosgpu-*")):
            shutil.rmtree(folder, ignore_errors=True)

    def left(self) -> list[str]:
        """Name who is still at work, and the package files of a change that was recorded and has ended."""
        recorded = (self.lease_folder / "undo").exists()
        return [*super().left(), *package_look.at_work(), *(self._kept() if recorded else ())]

    def litter(self) -> list[str]:
        """Name what was kept for a change that was never recorded, too: the next one removes it."""
        return [*super().litter(), *self._kept(), *(str(path) for path in _SCRATCH.glob("chaosgpu-*"))]

    def _kept(self) -> list[str]:
        return package_look.kept(self.home / "packages" / self.lease)


def build(folder: Path, fault: str, victim: Victim) -> UnitWorld:
    """Make the packages ready, start the unit beside them, and make a host of it."""
    subprocess.run(["sh", "-c", victim.packages], check=True, timeout=_READY_WITHIN_S, stdout=subprocess.DEVNULL)
    return unit_world.build(folder, fault, victim, PackageWorld, package_look.look)
