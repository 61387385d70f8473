# SPDX-License-Identifier: Apache-2.0
"""What builds kernel modules on a host: Debian's dkms with a kernel, its headers and an initramfs, as a layer."""

from collections.abc import Callable
from pathlib import Path

from bench.packaged import packaged

__all__ = ["dkms_layer"]

# The cloud kernel is the smallest; a container shares this machine's kernel, so nothing that is built is ever loaded.
_PACKAGES = ("dkms", "initramfs-tools", "linux-image-cloud-amd64", "linux-headers-cloud-amd64")


def dkms_layer(say: Callable[[str], None]) -> Path:
    """Return the layer; made once."""
    return packaged("dkms", _PACKAGES, say)
