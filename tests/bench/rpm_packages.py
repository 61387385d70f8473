# SPDX-License-Identifier: Apache-2.0
"""A test host whose packages are RPM's: dnf as RHEL sets it up, no apt, a driver and a repository built there."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.hosts import Bench, Host
from bench.waiting import wait_until
from support.rpms import evr, specs

__all__ = [
    "LOCKS", "PACKAGES", "build", "by_rpm", "clear", "exactly", "install", "installed", "lock_of", "locks",
    "make_rpm_host", "seen", "served", "use",
]  # fmt: skip

PACKAGES = ("createrepo-c", "dnf", "dnf-plugins-core", "rpm")
BUILT = "/srv/built"
LOCKS = "/etc/dnf/plugins/versionlock.list"
_PORT = 8480
# As RHEL 9 ships it. Debian's rpm keeps its record in the home of whoever calls it.
_CONF = """[main]
gpgcheck=1
installonly_limit=3
clean_requirements_on_remove=True
best=True
skip_if_unavailable=False
"""
_SETUP = """
set -e
mkdir -p /etc/rpm /etc/yum.repos.d /var/lib/rpm
echo '%_dbpath /var/lib/rpm' > /etc/rpm/macros
cat > /etc/dnf/dnf.conf
rm /etc/dnf/plugins/local.conf
for name in apt-get apt apt-cache apt-mark dpkg; do mv /usr/bin/$name /root/$name.away; done
rpm --initdb
"""
_BUILD = f"""
set -e
for spec in {BUILT}/*.spec; do
    rpmbuild -bb --quiet --define '_topdir /root/rpmbuild' --define '_rpmdir {BUILT}' "$spec"
done
rpm -i {BUILT}/*/rocky-release-*.rpm
createrepo_c --quiet {BUILT}
"""
_REPOSITORY = "[driver]\nname=driver\nbaseurl={}\ngpgcheck=0\nenabled=1\nmetadata_expire=0\n"
_LOOK = f"""
export LC_ALL=C
rpm -qa --qf '%{{NAME}} %{{EVR}} %{{INSTALLTID}}\\n' | sort
rpm -Va
sort {LOCKS}
find /etc/modprobe.d /usr/lib64 /usr/src /usr/share/nvidia /lib/modules -type f | sort | xargs -r sha256sum
"""
_EXACTLY = f"""
export LC_ALL=C
rpm -qa --qf '%{{NAME}} %{{EVR}} %{{SHA256HEADER}}\\n' | sort
rpm -Va
cat {LOCKS}
dnf -q --disablerepo='*' repoquery --userinstalled | sort
find /etc/modprobe.d /usr/lib64 /usr/src /usr/share/nvidia /usr/bin/nv* /lib/modules | sort
find /etc/modprobe.d /usr/lib64 /usr/src /usr/share/nvidia /usr/bin/nv* /lib/modules -type f | sort | xargs sha256sum
true
"""


def make_rpm_host(host: Host) -> None:
    """Take apt away from a host that has dnf, and set that up as RHEL does."""
    host.run(["sh", "-c", _SETUP], _CONF, timeout_s=60, check=True)


def build(host: Host, to: Path) -> None:
    """Build all packages and the repository on the host, and copy them to the controller."""
    inside = Path(f"/proc/{host.init()}/root{BUILT}")
    inside.mkdir(parents=True)
    for name, text in specs().items():
        (inside / name).write_text(text)
    host.run(["sh", "-c", _BUILD], timeout_s=240, check=True)
    shutil.copytree(inside, to)


@contextmanager
def served(bench: Bench, folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Have the controller serve a folder to the hosts; ending what is given cuts them off from it."""
    command = [sys.executable, "-m", "http.server", "--bind", bench.plan.gateway, "--directory", str(folder)]
    with bench.inside():
        server = subprocess.Popen(
            [*command, str(_PORT)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    try:
        yield server
    finally:
        server.kill()
        server.wait()


def use(bench: Bench, host: Host) -> None:
    """Have the host look for packages there, and wait until it can."""
    url = f"http://{bench.plan.gateway}:{_PORT}/"
    host.run(["sh", "-c", f"printf '{_REPOSITORY.format(url)}' > /etc/yum.repos.d/driver.repo"], check=True)
    wait_until(lambda: host.run(["dnf", "-q", "makecache"], timeout_s=60).returncode == 0, 60.0)


def clear(host: Host) -> None:
    """Take the driver, its locks and every cache away, whatever a test has left of them."""
    script = f"""
rm -rf /run/gate /run/at
: > {LOCKS}
pkill -x dnf
rpm -qa '*nvidia*' --qf '%{{NAME}}-%{{EVR}}\\n' | xargs -r rpm -e --nodeps --noscripts
rm -rf /etc/modprobe.d/nvidia.conf* /lib/modules/5.14.0-test /usr/lib64/lib[cn]* /usr/src/nvidia-open-*
rm -rf /usr/share/nvidia /var/lib/chaosgpu/lifecycle
dnf -q clean all
true
"""
    host.run(["sh", "-c", script], timeout_s=60, check=True)


def installed(host: Host, name: str) -> str:
    """Return the version of a package, with its epoch, as rpm tells it; empty where it is not there."""
    said = host.run(["rpm", "-q", "--qf", "%{EVR}\\n", name])
    return said.stdout.strip() if said.returncode == 0 else ""


def locks(host: Host) -> list[str]:
    """Return the lines of dnf's list of locks, in order."""
    rows = host.run(["cat", LOCKS]).stdout.splitlines()
    return sorted(row for row in rows if row and not row.startswith("#"))


def lock_of(name: str, version: str) -> str:
    """Return a package's line in that list."""
    whole = evr(name, version)
    return f"{name}-{whole if ':' in whole else f'0:{whole}'}.*"


def seen(host: Host) -> str:
    """Return everything about the driver that must be equal before and after, as rpm and the file system have it."""
    return host.run(["sh", "-c", _LOOK], timeout_s=60).stdout


def install(host: Host, version: str) -> None:
    """Have the driver in a version: one package locked by the site, one file edited."""
    named = " ".join(f"{name}-{evr(name, version)}" for name in ("nvidia-open", "nvidia-fabricmanager"))
    script = f"""
set -e
dnf -q -y --refresh install {named}
dnf -q versionlock add nvidia-fabricmanager-{evr("nvidia-fabricmanager", version)}
echo LOG_LEVEL=site > /usr/share/nvidia/nvswitch/fabricmanager.cfg
"""
    host.run(["sh", "-c", script], timeout_s=120, check=True)


def by_rpm(host: Host, name: str, version: str) -> None:
    """Bring one package to a version past every lock."""
    whole = evr(name, version).rpartition(":")[2]
    host.run(["sh", "-c", f"rpm -U --oldpackage {BUILT}/*/{name}-{whole}.*.rpm"], timeout_s=60, check=True)


def exactly(host: Host) -> str:
    """Return all of that, with what dnf has each package for, but not when it was put there."""
    return host.run(["sh", "-c", _EXACTLY], timeout_s=60, check=True).stdout
