# SPDX-License-Identifier: Apache-2.0
"""What a host's packages are at one moment: all of dpkg's record, apt's marks, the module that runs."""

from dataclasses import dataclass
from typing import Dict, FrozenSet, Optional, Tuple

from chaosgpu.agent.packages.marks import read_auto
from chaosgpu.agent.packages.module import loaded, loaded_source
from chaosgpu.agent.packages.status import Package, broken, interrupted, read_packages
from chaosgpu.agent.packages.tools import Tools

__all__ = ["Facts", "look"]


@dataclass(frozen=True)
class Facts:
    """One look; `unfinished` says what dpkg has left half-done."""

    packages: Dict[str, Package]
    auto: FrozenSet[str]
    unfinished: Tuple[str, ...]
    module: Optional[str]
    module_source: Optional[str] = None
    manager: str = "dpkg"

    def there(self, name: str) -> Optional[Package]:
        """Return a package that is on the host, None for one that is not or has only left its configuration."""
        found = self.packages.get(name)
        return found if found is not None and found.there else None

    def held(self) -> FrozenSet[str]:
        """Return the packages that are on hold."""
        return frozenset(name for name, one in self.packages.items() if one.want == "hold")


def look(tools: Tools) -> Facts:
    """Read them; nothing is changed."""
    if tools.rpm:
        from chaosgpu.agent.packages.rpm import status  # noqa: PLC0415 (most hosts are of the other kind)

        found = status.read_packages(tools)
        half = tuple(status.broken(found))
        return Facts(found, frozenset(), half, loaded(tools), loaded_source(tools), tools.manager)
    packages = read_packages(tools)
    unfinished = [*broken(packages), *(f"{tools.admin}/updates/{name}" for name in interrupted(tools))]
    return Facts(packages, read_auto(tools), tuple(unfinished), loaded(tools), loaded_source(tools))
