# SPDX-License-Identifier: Apache-2.0
"""Driver packages on a test host with its real apt: installed, looked at from outside, caught in one state, removed."""

import itertools
import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.files import AGENT
from bench.hosts import Host
from bench.leases import state
from bench.waiting import wait_until
from support.debs import NAMES, OLD, build_repository

__all__ = [
    "APPLY_S",
    "FAULTS",
    "WHO",
    "Gate",
    "apply",
    "apply_and_kill",
    "ask",
    "load_module",
    "order",
    "remove",
    "repository",
    "seen",
    "set_up",
]

APPLY_S = 120.0
FAULTS = ("package.install", "package.unattended")  # their cases are in test_packages.py and test_drift_faults.py
REPOSITORY = "/srv/driver"
WHO = ("apt", "dpkg", "agent", "all")
_NUMBERS = itertools.count()
_SOURCES = "/etc/apt/sources.list.d/driver.list"
_KEPT = "/root/kept-sources"
# What dpkg, apt and the file system themselves say, in an order of its own: the agent has no part in it.
_LOOK = """
export LC_ALL=C
dpkg -l | sort
dpkg --get-selections | sort
apt-mark showhold | sort
apt-mark showauto | sort
dpkg --audit
ls /var/lib/dpkg/updates
for file in $(find /etc/apt/preferences.d /etc/modprobe.d /etc/nvidia /lib/modules -type f | sort); do
    sha256sum "$file"; stat -c '%a %u:%g' "$file"
done
for package in $(dpkg-query -W -f '${binary:Package} ${source:Package}\\n' | awk '$2 ~ /nvidia/ {print $1}' | sort); do
    for file in $(dpkg -L "$package" | sort); do [ ! -f "$file" ] || sha256sum "$file"; done
done
find /usr/lib/nvidia /usr/src /usr/bin/nv* /usr/share/nvidia -type f 2>/dev/null | sort
"""
_NVRM = "_NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {}  Release Build"
_KILLED = {
    "apt": "pkill -KILL -x apt-get",
    "dpkg": "pkill -KILL -x dpkg",
    "agent": "kill -KILL $agent",
    "all": "kill -KILL $agent; pkill -KILL -x apt-get; pkill -KILL -x dpkg; pkill -KILL -f [/]var/lib/dpkg/",
}
_KILL = """
rm -rf /run/at /run/gate; mkdir -p /run/gate; touch /run/gate/{gate}
{agent} apply <&0 > /run/answer & agent=$!
for _ in $(seq 3000); do [ ! -e /run/at/{gate} ] || break; sleep 0.02; done
[ -e /run/at/{gate} ] && echo caught
dpkg -l | awk '$1 !~ /^(ii|hi|rc)$/ && $2 ~ /nvidia/ {{print $1 ":" $2}}'
{kill}
rm -rf /run/gate
wait $agent 2>/dev/null
exit 0
"""


@dataclass(frozen=True)
class Gate:
    """Where dpkg is caught: in a script of a package."""

    package: str
    script: str

    def __str__(self) -> str:
        """Return the gate's file name."""
        return f"{self.package}.{self.script}"


def repository() -> Path:
    """Build the package files once for this process."""
    folder = Path(tempfile.mkdtemp(prefix="chaosgpu-debs-"))
    build_repository(folder)
    return folder


def set_up(host: Host, packages: Path) -> None:
    """Give a host the repository and the old driver, two packages of it on hold, one automatic, one file edited."""
    inside = Path(f"/proc/{host.init()}/root{REPOSITORY}")
    shutil.rmtree(inside, ignore_errors=True)
    shutil.copytree(packages, inside)
    old = " ".join(f"{name}={OLD}" for name in NAMES if name != "libnvidia-gpucomp")
    script = f"""
set -e
export DEBIAN_FRONTEND=noninteractive
mkdir -p {_KEPT} /etc/modprobe.d
for file in /etc/apt/sources.list /etc/apt/sources.list.d/*; do [ ! -f $file ] || mv $file {_KEPT}/; done
echo 'deb [trusted=yes] file:{REPOSITORY} ./' > {_SOURCES}
apt-get -q update
apt-get -q -y install {old}
apt-mark hold nvidia-open nvidia-fabricmanager
apt-mark auto nvidia-utils
printf 'Package: nvidia-open\\nPin: version {OLD}\\nPin-Priority: 1000\\n' > /etc/apt/preferences.d/site
echo user=site > /etc/nvidia/persistenced.conf
"""
    host.run(["sh", "-c", script], timeout_s=120, check=True)


def remove(host: Host) -> None:
    """Take the driver and the repository away, whatever a test has left of them."""
    script = f"""
rm -rf /run/gate /run/at /etc/apt/preferences.d/site /etc/apt/preferences.d/00-chaosgpu {_SOURCES} {REPOSITORY}
umount /proc/driver 2>/dev/null
dpkg --purge --force-all {" ".join(NAMES)} > /dev/null 2>&1
rm -rf /lib/modules/6.1.0-test /var/lib/chaosgpu/packages /usr/lib/nvidia /var/lib/dpkg/updates/0*
[ ! -f {_KEPT}/sources.list ] || mv {_KEPT}/sources.list /etc/apt/
[ -z "$(ls {_KEPT} 2>/dev/null)" ] || mv {_KEPT}/* /etc/apt/sources.list.d/
dpkg --audit
"""
    assert host.run(["sh", "-c", script], timeout_s=60).stdout == ""


def seen(host: Host) -> str:
    """Return everything that must be equal before and after."""
    return host.run(["sh", "-c", _LOOK], timeout_s=60, check=True).stdout


def version(host: Host, name: str) -> str:
    """Return the version of a package as dpkg tells it."""
    return host.run(["dpkg-query", "-W", "-f", "${Version}", name]).stdout


def ask(host: Host, verb: str, request: dict[str, Any]) -> dict[str, Any]:
    """Ask the package engine by itself, as a playbook does."""
    words = ["env", f"PYTHONPATH={AGENT}", "python3", "-m", "chaosgpu.agent.packages", verb]
    answer: dict[str, Any] = json.loads(host.run(words, json.dumps(request), timeout_s=APPLY_S).stdout)
    return answer


def order(packages: dict[str, str], ttl_s: float = 300.0, **params: Any) -> dict[str, Any]:
    """Return an order with a lease of its own."""
    asked = {"packages": packages, "back_within_s": 120, **params}
    lease = f"packages-{next(_NUMBERS)}"
    times = {"ttl_s": ttl_s, "max_duration_s": ttl_s}
    return {"lease": lease, "fault": "package.install", "params": asked, "run": "packages", **times}


def apply(host: Host, packages: dict[str, str], ttl_s: float = 300.0, **params: Any) -> dict[str, Any]:
    """Put the fault in; it must be in force."""
    answer = host.agent("apply", order(packages, ttl_s, **params), timeout_s=APPLY_S)
    assert answer.get("state") == "active", answer
    return answer


def apply_and_kill(host: Host, ordered: dict[str, Any], gate: Gate, who: str) -> list[str]:
    """Apply, catch dpkg in a script and kill; return the states in which packages were then, as `iF:nvidia-utils`."""
    script = _KILL.format(gate=gate, agent=AGENT, kill=_KILLED[who])
    asked = json.dumps({"protocol": 1, **ordered})
    rows = host.run(["bash", "-c", script], asked, APPLY_S, check=True).stdout.splitlines()
    assert rows[:1] == ["caught"], (str(gate), rows, host.run(["cat", "/run/answer"]).stdout)
    return rows[1:]


def wait_clean(host: Host, lease: str, within_s: float = 90.0) -> dict[str, Any]:
    """Wait until the host has ended a lease by itself; return its state."""
    wait_until(lambda: state(host, lease)["state"] in ("clean", "stuck", "tombstone"), within_s)
    return state(host, lease)


def load_module(host: Host, upstream: str) -> None:
    """Have the kernel tell another version of the driver's module, until the host's next start."""
    line = _NVRM.format(upstream)
    script = (
        f"mountpoint -q /proc/driver || mount -t tmpfs x /proc/driver; mkdir -p /proc/driver/nvidia; echo '{line}' "
    )
    host.run(["sh", "-c", f"{script} > /proc/driver/nvidia/version"], check=True)
