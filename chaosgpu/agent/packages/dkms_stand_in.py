# SPDX-License-Identifier: Apache-2.0
"""What stands before dkms on the way back, for the scripts of packages that call it.

Modules that were kept are put in their place as soon as their sources are registered, so that DKMS finds them built and
only installs them: no compiler, no kernel headers. Only the programs that we start see it: if they are killed, nothing
of it is left on the host.
"""

from pathlib import Path
from typing import Iterable

from chaosgpu.agent.packages.tools import Tools

__all__ = ["KEPT", "stand_in"]

KEPT = "kept"
_SKIPPED = "skipped"
# 77 is how DKMS itself says that it does not build for this kernel: the package's script then goes on without.
_SCRIPT = """#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
here=${0%/*}
PATH=${PATH#"$here:"}
export PATH
tree=/var/lib/dkms
put_in_place() {
    for kept in "$here"/kept/*/*/*/*; do
        built=${kept#"$here/kept/"}
        kernel=${built%/*}
        if [ -e "$tree/${kernel%/*}/source/dkms.conf" ] && [ ! -e "$tree/$built" ] &&
            [ -d "/lib/modules/${kernel##*/}" ]; then
            rm -rf "$tree/$kernel/.chaosgpu-new"
            mkdir -p "$tree/$kernel" && cp -a "$kept" "$tree/$kernel/.chaosgpu-new" &&
                mv "$tree/$kernel/.chaosgpu-new" "$tree/$built"
        fi
    done
}
is_skipped() {
    name= version=
    shift
    while [ $# -gt 0 ]; do
        case $1 in
        -m) name=${2-} ;;
        -v) version=${2-} ;;
        */*) name=${1%%/*} version=${1#*/} ;;
        esac
        shift
    done
    [ -e "$here/skipped/$name-$version" ]
}
case $1 in
add)
    dkms "$@"
    status=$?
    put_in_place
    exit $status
    ;;
build | install | autoinstall)
    if [ "$1" = build ] && is_skipped "$@"; then exit 77; fi
    put_in_place
    ;;
esac
exec dkms "$@"
"""


def stand_in(tools: Tools, folder: Path, skipped: Iterable[str]) -> str:
    """Write it beside what was kept; return the folder that has to be first in PATH, empty in a root that is not `/`.

    `skipped` are folders of sources that are on their way out: nobody is to compile them.
    """
    if tools.root != "/":
        return ""
    (folder / _SKIPPED).mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in skipped:
        (folder / _SKIPPED / name).touch()
    script = folder / "dkms"
    script.write_text(_SCRIPT, encoding="ascii")
    script.chmod(0o700)
    return str(folder)
