# SPDX-License-Identifier: Apache-2.0
"""A service on a test host that has files of its own and misses them, and what lies in its folder."""

from bench.cuda_units import sh
from bench.hosts import Host
from bench.units import put

__all__ = ["FAULTS", "FOLDER", "INDEX", "UNIT", "seen", "serve"]

FAULTS = ("unit.files.vanish", "unit.files.damage")  # their tests are in test_unit_files.py
UNIT = "keeper-of-files.service"
FOLDER = "/var/lib/keeper"
INDEX = f"{FOLDER}/index"
# Its log stays open, as a database's does, and an index that is not there it makes anew, empty; or it ends on that.
_MAKES = "[ -e index ] || echo empty > index"
_ENDS = "[ -e index ] || exit 3"


def serve(host: Host, *, ends: bool = False, service: str = "", unit: str = "", enabled: bool = False) -> None:
    """Start it with an index that is worth something."""
    sh(host, f"rm -rf {FOLDER}; mkdir -p {FOLDER}; seq 20000 > {INDEX}; touch -d '1 hour ago' {INDEX}")
    words = f"cd {FOLDER}; exec 3>>log; {_ENDS if ends else _MAKES}; exec sleep infinity"
    put(host, UNIT, f"ExecStart=/bin/sh -c '{words}'\n{service}", unit)
    if enabled:
        sh(host, f"systemctl enable --quiet {UNIT}")


def seen(host: Host) -> list[str]:
    """Return what is aside at the top, the names in its folder, which file the index is, and how the service is."""
    index = f"stat -c '%i %s %y %a %u' {INDEX}; sha256sum < {INDEX}"
    told = f"ls -d /chaosgpu-* 2>/dev/null; ls {FOLDER}; {index}; systemctl show -P ActiveState {UNIT}"
    return sh(host, told).splitlines()
