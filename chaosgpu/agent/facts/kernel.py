# SPDX-License-Identifier: Apache-2.0
"""The kernel that runs, with its command line, and what it runs on."""

from chaosgpu.agent.facts.tree import Tree, UnknownFact, put
from chaosgpu.agent.readings.catalogue import Answer

__all__ = ["kernel"]

_DMI = "/sys/class/dmi/id"


def kernel(tree: Tree) -> Answer:
    """Return release, command line, distribution, microcode and the firmware of the board."""
    answer = Answer()
    put(answer, "release", lambda: tree.text("/proc/sys/kernel/osrelease"))
    put(answer, "command_line", lambda: tree.text("/proc/cmdline"))
    put(answer, "distribution", lambda: _distribution(tree))
    put(answer, "microcode", lambda: tree.text("/sys/devices/system/cpu/cpu0/microcode/version"))
    put(answer, "machine", lambda: tree.text(f"{_DMI}/product_name"))
    put(answer, "firmware", lambda: tree.text(f"{_DMI}/bios_version"))
    return answer


def _distribution(tree: Tree) -> str:
    lines = (line.partition("=") for line in tree.text("/etc/os-release").splitlines())
    said = {name.strip(): value.strip().strip("\"'") for name, _, value in lines}
    if not said.get("ID"):
        raise UnknownFact("/etc/os-release names no distribution")
    return f"{said['ID']} {said.get('VERSION_ID', '')}".strip()
