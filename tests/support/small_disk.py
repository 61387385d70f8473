# SPDX-License-Identifier: Apache-2.0
"""A small file system of its own, in an image on a loop device: for what must be full, or broken, or gone. For root."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["make", "mount", "small_disk", "unmount"]


def make(image: Path, kind: str, mib: int, *options: str) -> None:
    """Make the file system in an image; what is not written there takes no room."""
    with image.open("wb") as file:
        file.truncate(mib << 20)
    subprocess.run([f"mkfs.{kind}", "-q", "-F", *options, str(image)], check=True, capture_output=True, timeout=60)


def mount(image: Path, point: Path, options: str = "loop") -> None:
    """Mount it; the loop device goes with the mount."""
    point.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", options, str(image), str(point)], check=True, capture_output=True, timeout=30)


def unmount(point: Path) -> None:
    """Unmount whatever is there, however busy; again is harmless."""
    if os.path.ismount(point):
        subprocess.run(["umount", "--lazy", str(point)], check=True, timeout=30)


@contextmanager
def small_disk(point: Path, kind: str = "ext4", mib: int = 64, *options: str) -> Iterator[Path]:
    """Have one for a while; its image lies beside it."""
    image = point.with_suffix(".img")
    make(image, kind, mib, *options)
    mount(image, point)
    try:
        yield point
    finally:
        unmount(point)
