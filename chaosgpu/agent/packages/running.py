# SPDX-License-Identifier: Apache-2.0
"""Whether the kernel module that runs is the one that the packages are of; a package's version does not say so."""

import re
from typing import Dict, List, Tuple

from chaosgpu.agent.facts.driver import module_version
from chaosgpu.agent.facts.tree import Tree, UnknownFact
from chaosgpu.agent.packages.facts import Facts
from chaosgpu.agent.packages.tools import Tools

__all__ = ["module_findings"]

# What has to be of the version of the module that runs, in the three worlds of packages.
_LIBRARY = re.compile(r"libnvidia-compute(-\d+)?(-server)?|libcuda1|nvidia-driver-(cuda-)?libs")


def module_findings(tools: Tools, facts: Facts) -> Tuple[List[str], List[str]]:
    """Return what is wrong with the kernel module that runs, and what cannot be known of it."""
    wrong: List[str] = []
    unknown: List[str] = []
    try:
        on_disk = module_version(Tree(tools.root))
    except UnknownFact as why:
        on_disk = ""
        unknown.append(f"the driver's module on the disk: {why}")
    if facts.module is None:
        if on_disk:
            wrong.append(f"no NVIDIA kernel module is loaded, and {on_disk} is on the disk: load it, or reboot")
        return wrong, unknown
    if on_disk and on_disk != facts.module:
        wrong.append(f"the kernel module that runs is {facts.module}, and the next boot loads {on_disk}: reboot")
    for name, version in sorted(_libraries(facts).items()):
        if version != facts.module:
            wrong.append(
                f"the kernel module that runs is {facts.module} and {name} is {version}: no new process gets a GPU "
                "until the module is loaded anew, or the host rebooted"
            )
    return wrong, unknown


def _libraries(facts: Facts) -> Dict[str, str]:
    there = (one for one in facts.packages.values() if one.there and _LIBRARY.fullmatch(one.name))
    return {one.name: one.version.rpartition(":")[2].partition("-")[0] for one in there}
