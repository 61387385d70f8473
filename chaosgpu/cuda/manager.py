# SPDX-License-Identifier: Apache-2.0
"""Whether a host's packages are apt's or dnf's, by what its lock file says of it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from chaosgpu.cuda.flat import Value
from chaosgpu.cuda.pins import packages_of

__all__ = ["Manager", "manager_of"]

_DNF = frozenset({
    "rhel", "rocky", "almalinux", "centos", "fedora", "ol", "amzn", "cloudlinux", "eurolinux", "scientific",
    "openeuler", "miraclelinux", "circle", "anolis",
})  # fmt: skip
_APT = frozenset({"debian", "ubuntu", "linuxmint", "pop", "raspbian", "devuan"})
# What no package of the other world has: in a release, or as a name.
_RPM_VERSION = re.compile(r"-\S*\.(el|fc|amzn|oe|an)\d")
_RPM_NAME = re.compile(r"kernel(-core|-modules.*|-devel.*)?|kmod-.+|nvidia-driver-cuda(-libs)?")
_DEB_VERSION = re.compile(r"-\S*(ubuntu|\+deb|~deb|~bpo)\d|-\S*~\d\d\.\d\d")
_DEB_NAME = re.compile(
    r"linux-(image|headers|modules)-.+|libnvidia-compute-\d+.*|libcuda1|unattended-upgrades|.+:\w+64"
)


@dataclass(frozen=True)
class Manager:
    """Which one it is, and why that is thought."""

    name: Literal["apt", "dnf"]
    why: str
    certain: bool = True


def manager_of(due: Mapping[str, Value]) -> Manager:
    """Return it by the distribution, else by the form of names and versions; apt where neither tells."""
    said = due.get("kernel.distribution")
    kind = said.split()[0].lower() if isinstance(said, str) and said.split() else ""
    if kind in _DNF or kind in _APT:
        return Manager("dnf" if kind in _DNF else "apt", f"the lock file has kernel.distribution {said}")
    rpm = [shown for name, version, shown in _packages(due) if _is(name, version, _RPM_NAME, _RPM_VERSION)]
    deb = [shown for name, version, shown in _packages(due) if _is(name, version, _DEB_NAME, _DEB_VERSION)]
    if bool(rpm) != bool(deb):
        name: Literal["apt", "dnf"] = "dnf" if rpm else "apt"
        return Manager(name, f"the lock file has {(rpm or deb)[0]}, which is of the form of {name}'s packages")
    has = f"both {rpm[0]} and {deb[0]}" if rpm else "no distribution that is known and no package of one form alone"
    why = f"whether its packages are apt's or dnf's is not known, since the lock file has {has}"
    return Manager("apt", f"{why}; lock kernel.distribution to have it right", certain=False)


def _packages(due: Mapping[str, Value]) -> list[tuple[str, str, str]]:
    return [(name, version, f"{name} {version}") for name, version in sorted(packages_of(due).items())]


def _is(name: str, version: str, names: "re.Pattern[str]", versions: "re.Pattern[str]") -> bool:
    return bool(names.fullmatch(name) or versions.search(version))
