# SPDX-License-Identifier: Apache-2.0
"""Files that only fill a disk, file systems that somebody made read-only, and devices that fail on purpose."""

import fnmatch
import re
from typing import Dict, Iterator, Tuple

from chaosgpu.agent.residue.finding import FOREIGN, UNKNOWN, Found, Unlooked, family
from chaosgpu.agent.residue.scene import Scene

__all__ = ["disks", "mounts"]

_KINDS = {
    "disk.fill_file": "a file by which a fault tool fills a disk",
    "disk.stress_folder": "the folder of a stress tool that was killed",
    "mount.read_only": "a file system that /etc/fstab has writable is read-only",
    "block.fails": "a block device that fails, delays or loses on purpose (device mapper)",
    "block.loop_deleted": "a loop device over a deleted file",
}
_FILES = ("chaos_filldisk.log.dat", "chaos_filldisk*", "diskfill", "disk_fill*", "chaosd_fill*", "gremlin-fill*")
_FOLDERS = ("tmp-stress-ng*", "stress-ng-*", "stress.??????")
_WHERE = ("/", "/tmp", "/var/tmp", "/var/log", "/var/lib", "/var", "/data", "/mnt", "/home", "/opt", "/srv", "/run")  # noqa: S108 (looked at)
_FAULTY = ("flakey", "delay", "error", "dust")
_ESCAPED = re.compile(r"\\([0-7]{3})")


@family("disks", FOREIGN, _KINDS)
def disks(scene: Scene, found: Found) -> None:
    """Look in the places where tools put them, in the mounts and in the kernel's list of devices."""
    mounted = dict(mounts(scene))
    for folder in sorted({*_WHERE, *(point for point in mounted if scene.status(point) is not None)}):
        if folder.startswith(("/proc", "/sys", "/dev")):
            continue
        try:
            names = scene.names(folder)
        except Unlooked as error:
            found.could_not(str(error))
            continue
        for name in names:
            path = f"{folder.rstrip('/')}/{name}"
            for kind, patterns in (("disk.fill_file", _FILES), ("disk.stress_folder", _FOLDERS)):
                if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns):
                    found.add(kind, f"{path} is there", path, f"see that no process has it open; rm -r {path}")
    _read_only(mounted, scene, found)
    _devices(scene, found)


def mounts(scene: Scene) -> Iterator[Tuple[str, str]]:
    """Yield where each file system is mounted, and its options; but for those that the kernel makes up."""
    for line in (scene.text("/proc/self/mounts") or "").splitlines():
        words = line.split()
        point = _ESCAPED.sub(lambda match: chr(int(match.group(1), 8)), words[1])
        # A bound file, and what has no disk behind it, has nothing to be filled.
        if words[2] not in ("proc", "sysfs", "cgroup", "cgroup2", "devpts", "mqueue", "debugfs", "tracefs", "bpf"):
            yield point, words[3]


def _read_only(mounted: Dict[str, str], scene: Scene, found: Found) -> None:
    for line in (scene.text("/etc/fstab") or "").splitlines():
        words = line.partition("#")[0].split()
        if len(words) > 3 and "ro" not in words[3].split(",") and "ro" in mounted.get(words[1], "").split(","):  # noqa: PLR2004 (device, point, kind, options)
            what = f"{words[1]} is read-only: made so, or by the kernel after an error"
            by_hand = f"dmesg | grep -i remount; then mount -o remount,rw {words[1]}"
            found.add("mount.read_only", what, words[1], by_hand, owner=UNKNOWN)


def _devices(scene: Scene, found: Found) -> None:
    mapped = [name for name in scene.names("/sys/block") if name.startswith("dm-")]
    for line in scene.said("dmsetup", "table").splitlines() if mapped else []:
        name, _, table = line.partition(":")
        words = table.split()
        if len(words) > 2 and words[2] in _FAULTY:  # noqa: PLR2004 (start, length, kind)
            found.add(
                "block.fails", f"{name} is {words[2]}", name, f"dmsetup remove {name}, when nothing is mounted on it"
            )
    for name in scene.names("/sys/block"):
        file = scene.text(f"/sys/block/{name}/loop/backing_file") if name.startswith("loop") else None
        if file and file.rstrip().endswith("(deleted)"):
            found.add(
                "block.loop_deleted", f"{name} is over {file.strip()}", name, f"losetup -d /dev/{name}", owner=UNKNOWN
            )
