# SPDX-License-Identifier: Apache-2.0
"""A driver package that DKMS builds: a module of a few lines under NVIDIA's names, with the scripts of Debian's.

The build waits where a test says so, as the scripts of `support.debs` do: at the gate `build`. Each one is
noted in `/run/builds`.
"""

from pathlib import Path

from support.debs import LATER, OLD, Deb, build_repository

__all__ = ["PACKAGE", "build_dkms_repository"]

PACKAGE = "nvidia-kernel-dkms"
_SOURCES = "/usr/src/nvidia-current-{upstream}"
_MODULE = """\
// SPDX-License-Identifier: GPL-2.0
#include <linux/module.h>
static char *made = "{version}";
module_param(made, charp, 0444);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("a module of no use");
MODULE_VERSION("{upstream}");
"""
_DESCRIPTION = """\
PACKAGE_NAME="nvidia-current"
PACKAGE_VERSION="{upstream}"
BUILT_MODULE_NAME[0]="nvidia"
DEST_MODULE_NAME[0]="nvidia-current"
DEST_MODULE_LOCATION[0]="/updates/dkms"
PRE_BUILD="wait.sh"
AUTOINSTALL="yes"
"""
_WAIT = """\
#!/bin/sh
echo {version} >> /run/builds
[ ! -d /run/gate ] || {{ mkdir -p /run/at; touch /run/at/build; }}
while [ -e /run/gate/build ]; do sleep 0.02; done
"""
# What dh_dkms writes into Debian's packages.
_POSTINST = """\
case "$1" in configure)
    /usr/lib/dkms/common.postinst nvidia-current {upstream} /none "" "$2" || exit $?
;; esac"""
_PRERM = """\
case "$1" in remove | upgrade | deconfigure)
    if [ "$(dkms status -m nvidia-current -v {upstream})" ]; then
        dkms remove -m nvidia-current -v {upstream} --all || exit $?
    fi
;; esac"""
_DEB = Deb(
    PACKAGE,
    "dkms",
    {
        f"{_SOURCES}/nvidia.c": _MODULE,
        f"{_SOURCES}/Makefile": "obj-m := nvidia.o\n",
        f"{_SOURCES}/dkms.conf": _DESCRIPTION,
        f"{_SOURCES}/wait.sh": _WAIT,
    },
    {"/etc/modprobe.d/nvidia-graphics.conf": "options nvidia NVreg_Tuned={version}\n"},
    postinst=_POSTINST,
    prerm=_PRERM,
)


def build_dkms_repository(folder: Path) -> None:
    """Build it in two versions, with the index that apt reads."""
    build_repository(folder, versions=(OLD, LATER), debs=(_DEB,))
