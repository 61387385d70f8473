# SPDX-License-Identifier: Apache-2.0
"""What the images that hosts boot from hold of a driver, its modules, firmware and settings, and making them anew.

An image is compared by what is in it: its own bytes differ each time that it is made.
"""

import shutil
import tempfile
import time
from pathlib import Path
from typing import Callable, Dict, Iterable, List, Optional

from chaosgpu.agent.packages.files import content_digest
from chaosgpu.agent.packages.tools import Tools
from chaosgpu.agent.values import JsonMapping

__all__ = ["concerns", "contents", "renew", "to_renew"]

_IMAGES = "initrd.img-*"
_STALE = "stale"
_WITHIN_S = 120.0
_PREFIX, _FORGOTTEN_S = "image-", 3600.0
# A package with one of these decides what is in an image.
_PLACES = (
    "/etc/modprobe.d/", "/lib/modprobe.d/", "/usr/lib/modprobe.d/", "/lib/firmware/", "/usr/lib/firmware/",
    "/lib/modules/", "/usr/lib/modules/", "/etc/initramfs-tools/", "/usr/share/initramfs-tools/",
)  # fmt: skip


def concerns(paths: Iterable[str]) -> bool:
    """Tell whether files at these paths have a part in what hosts boot from."""
    from chaosgpu.agent.packages.dkms import source_of  # noqa: PLC0415 (it is only needed here)

    return any(path.startswith(_PLACES) or source_of(path) for path in paths)


def contents(tools: Tools, scratch: Path, before: Optional[JsonMapping] = None) -> Dict[str, str]:
    """Return what each kernel's image holds of a driver, with its digest; empty where there is none, or no way to look.

    `scratch` is a folder on a disk: an image takes some hundred MB when it is unpacked. What an image has otherwise
    than the disk, or lacks, is `stale`: no new image would be like that, so it stays stale when it is compared with
    `before`.
    """
    found: Dict[str, str] = {}
    _forget(scratch)
    for image in sorted(tools.path("/boot").glob(_IMAGES)):
        kernel = image.name[len("initrd.img-") :]
        if tools.path(f"/lib/modules/{kernel}").is_dir():
            held = _unpacked(tools, image, scratch)
            if before is None:
                held = {name: said if _is_on_disk(tools, name, said) else _STALE for name, said in held.items()}
                held.update({name: _STALE for name in _settings(tools) if held and name not in held})
            found.update({f"{kernel} {name}": said for name, said in held.items()})
    return {**found, **{key: _STALE for key, said in (before or {}).items() if said == _STALE}}


def _is_on_disk(tools: Tools, name: str, said: str) -> bool:
    path = tools.path(name)
    return path.is_file() and said == content_digest(path)


def _settings(tools: Tools) -> List[str]:
    return [f"/etc/modprobe.d/{path.name}" for path in sorted(tools.path("/etc/modprobe.d").glob("*.conf"))]


def to_renew(before: JsonMapping, now: JsonMapping) -> List[str]:
    """Return the kernels whose images are not as they were."""
    return sorted({key.split(" ")[0] for key in {*before, *now} if before.get(key) != now.get(key)})


def renew(tools: Tools, kernels: Iterable[str], left_s: Callable[[], float]) -> None:
    """Make these images anew with the host's own program; whether they are as they were is told by reading them."""
    for kernel in kernels if tools.root == "/" else ():
        if tools.path(f"/boot/initrd.img-{kernel}").exists():
            tools.run(("update-initramfs", "-u", "-k", kernel), left_s(), outlives_us=True, read_back=True)


def _forget(scratch: Path) -> None:
    """Remove what somebody who was killed has left unpacked, some time ago."""
    for place in scratch.glob(f"{_PREFIX}*"):
        if time.time() - place.stat().st_mtime > _FORGOTTEN_S:
            shutil.rmtree(place, ignore_errors=True)


def _unpacked(tools: Tools, image: Path, scratch: Path) -> Dict[str, str]:
    """Return what an image holds of a driver; a damaged one counts as one that holds nothing."""
    if shutil.which("unmkinitramfs", path="/usr/sbin:/usr/bin:/sbin:/bin") is None:
        return {}
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=scratch) as place:
        tools.run(("unmkinitramfs", str(image), place), _WITHIN_S)
        base = Path(place)
        files = (path for path in sorted(base.rglob("*")) if path.is_file() and not path.is_symlink())
        # With microcode in it an image has two parts.
        named = ((f"/{path.relative_to(base)}".replace("/main/", "/", 1), path) for path in files)
        ours = ((name, path) for name, path in named if "nvidia" in name.lower() or "/modprobe.d/" in name)
        return {name: content_digest(path) for name, path in ours}
