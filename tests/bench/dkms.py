# SPDX-License-Identifier: Apache-2.0
"""A driver that DKMS builds, on a test host with a kernel, its headers and an initramfs; nothing is ever loaded."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from bench.hosts import Host
from bench.packages import REPOSITORY
from support.debs import LATER, OLD
from support.dkms_debs import PACKAGE

__all__ = ["BUILD_S", "INSTALLED", "KERNEL", "SMALL_IMAGE", "WANTED", "bring", "digests", "image", "install", "seen"]

WANTED = {PACKAGE: LATER}
BUILD_S = 300.0
_LOOK_S = 300.0
KERNEL = "$(ls /lib/modules)"
INSTALLED = f"/lib/modules/{KERNEL}/updates/dkms"
SMALL_IMAGE = "echo MODULES=list > /etc/initramfs-tools/conf.d/small"
_SOURCES = "/etc/apt/sources.list.d/driver.list"
# What dpkg, DKMS and the file system say; the agent has no part in it. Logs and scratch of a build differ each time.
_LOOK = f"""
export LC_ALL=C
dpkg -l | sort
apt-mark showhold | sort
dpkg --audit
dkms status | sort
find /var/lib/dkms ! -path '*/build*' ! -name make.log ! -name '*.pub' ! -name '*.key' ! -name .chaosgpu-new | sort
find /var/lib/dkms -type l -exec readlink {{}} + | sort
find {INSTALLED} /var/lib/dkms -name '*.ko*' -exec sha256sum {{}} + | sort
find /usr/src/nvidia* /etc/modprobe.d -type f -exec sha256sum {{}} + | sort
"""
# The image's own files; what is in it twice is there once for the kernel and once for the processor.
_IMAGE = f"""
rm -rf /var/tmp/image && unmkinitramfs /boot/initrd.img-{KERNEL} /var/tmp/image && cd /var/tmp/image &&
find . -type f \\( -path '*nvidia*' -o -path '*/modprobe.d/*' \\) -exec sha256sum {{}} + | sort; rm -rf /var/tmp/image
"""


def bring(host: Host, folder: Path) -> None:
    """Give a host a repository, and no other; its images are to hold what is listed, or they take minutes."""
    inside = Path(f"/proc/{host.init()}/root{REPOSITORY}")
    shutil.rmtree(inside, ignore_errors=True)
    shutil.copytree(folder, inside)
    script = f"""
set -e
rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*
echo 'deb [trusted=yes] file:{REPOSITORY} ./' > {_SOURCES}
apt-get -q update
{SMALL_IMAGE}
"""
    host.run(["sh", "-c", script], timeout_s=BUILD_S, check=True)


def install(host: Host, packages: Sequence[str] = (f"{PACKAGE}={OLD}",), within_s: float = BUILD_S) -> None:
    """Install packages as a person would, DKMS build included."""
    words = ["apt-get", "-q", "-y", "--no-install-recommends", "--allow-downgrades", "install", *packages]
    host.run(["env", "DEBIAN_FRONTEND=noninteractive", *words], timeout_s=within_s, check=True)


def seen(host: Host) -> str:
    """Return everything that must be equal before and after."""
    return host.run(["sh", "-c", _LOOK], timeout_s=_LOOK_S, check=True).stdout


def digests(host: Host) -> list[str]:
    """Return the installed module files with their SHA-256."""
    found = host.run(["sh", "-c", f"sha256sum {INSTALLED}/*"], timeout_s=_LOOK_S, check=True).stdout.splitlines()
    assert found
    return found


def image(host: Host) -> str:
    """Return what the image that the host would boot from holds of the driver."""
    return host.run(["sh", "-c", _IMAGE], timeout_s=_LOOK_S, check=True).stdout
