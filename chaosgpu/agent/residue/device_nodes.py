# SPDX-License-Identifier: Apache-2.0
"""The GPUs' device nodes: covered, gone, or closed to their users."""

import re
import stat
from typing import List

from chaosgpu.agent.errors import AgentError
from chaosgpu.agent.residue.finding import FOREIGN, UNKNOWN, Found, family
from chaosgpu.agent.residue.scene import Scene

_KINDS = {
    "device.covered": "something is mounted over a GPU's device node",
    "device.mode": "a GPU's device node is closed to its users",
    "device.no_device": "a GPU's device node is a file of another kind",
    "device.gap": "the device nodes of the GPUs have a gap",
    "device.more_than_driver": "there are more device nodes or GPUs on the bus than the driver shows",
}
_NODE = re.compile(r"nvidia(\d+)")
_USED = re.compile(r"nvidia(\d+|ctl|-uvm|-uvm-tools|-modeset)")
_PARAMS = "/proc/driver/nvidia/params"
_FILE_MODE = re.compile(r"^DeviceFileMode: (\d+)$", re.MULTILINE)
_PCI = "/sys/bus/pci/devices"
_CLOSED = 0o006


@family("device nodes", FOREIGN, _KINDS)
def device_nodes(scene: Scene, found: Found) -> None:
    """Compare them with one another, with the driver's own setting, and with what the driver shows."""
    for line in (scene.text("/proc/self/mountinfo") or "").splitlines():
        point = line.split()[4]
        if point.startswith("/dev/nvidia"):
            found.add("device.covered", f"{point} is covered by a mount", point, f"umount {point}")
    names = [name for name in scene.names("/dev") if name.startswith("nvidia")]
    numbers = sorted(int(match.group(1)) for match in map(_NODE.fullmatch, names) if match)
    for number in range(len(numbers) and numbers[-1]):
        if number not in numbers:
            by_hand = "nvidia-modprobe -c " + str(number)
            found.add("device.gap", f"/dev/nvidia{number} is missing", f"/dev/nvidia{number}", by_hand)
    told = _FILE_MODE.search(scene.text(_PARAMS) or "")
    for name in (name for name in names if _USED.fullmatch(name)):
        status = scene.status(f"/dev/{name}")
        if status is None or stat.S_ISDIR(status.st_mode) or stat.S_ISLNK(status.st_mode):
            continue
        path, mode = f"/dev/{name}", stat.S_IMODE(status.st_mode)
        if not stat.S_ISCHR(status.st_mode):
            by_hand = f"rm {path}; nvidia-modprobe -c 0 -u"
            found.add("device.no_device", f"{path} is no device", path, by_hand)
        elif mode != int(told.group(1)) if told else _NODE.fullmatch(name) and not mode & _CLOSED:
            right = f"{int(told.group(1)):o}" if told else "666"
            found.add("device.mode", f"{path} has mode {mode:o}", path, f"chmod {right} {path}", owner=UNKNOWN)
    _compare_with_driver(numbers, scene, found)


def _compare_with_driver(numbers: List[int], scene: Scene, found: Found) -> None:
    on_bus = sum(_is_gpu(f"{_PCI}/{name}", scene) for name in scene.names(_PCI))
    most = max(len(numbers), on_bus)
    if most == 0 or scene.new_driver is None:
        return
    driver = scene.new_driver()
    try:
        listed = driver.call("list_gpus")
    except AgentError:
        return  # the family of the GPUs says so
    finally:
        driver.close()
    shown = len(listed) if isinstance(listed, list) else 0
    if shown < most:
        what = f"the driver shows {shown} GPUs; there are {len(numbers)} device nodes and {on_bus} on the bus"
        by_hand = "nvidia-smi drain -q for each bus id; a GPU that is drained: nvidia-smi drain -p BUS -m 0"
        found.add("device.more_than_driver", what, "/dev/nvidia*", by_hand, owner=UNKNOWN)


def _is_gpu(device: str, scene: Scene) -> bool:
    vendor, what = scene.text(f"{device}/vendor") or "", scene.text(f"{device}/class") or ""
    return vendor.strip() == "0x10de" and what.startswith(("0x0300", "0x0302"))
