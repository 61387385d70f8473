# SPDX-License-Identifier: Apache-2.0
"""The Debian that all hosts share: built once by debootstrap, kept in the cache under the digest of how it was made."""

import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.leftovers import unmount_below
from bench.plan import BenchFailed
from bench.sources import debian_mirror

__all__ = ["base", "cache_directory"]

SUITE = "bookworm"
PACKAGES = (
    "cron", "dbus", "iproute2", "kmod", "libpam-systemd", "libpython3.11", "nftables", "openssh-server", "procps",
    "python3", "sudo", "systemd", "systemd-sysv",
)  # fmt: skip
# Nobody is to work on the hosts by the hour, nor to log in at a console.
_MASKED = (
    "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer",
    "e2scrub_reap.service", "console-getty.service", "getty@tty1.service", "systemd-pstore.service",
)  # fmt: skip
_BUILD_S = 900.0


def cache_directory() -> Path:
    """Return the folder for what can be made again: `$XDG_CACHE_HOME/chaosgpu/bench`."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "chaosgpu" / "bench"


def base(say: Callable[[str], None]) -> Path:
    """Return the tree, building it if it is not there; many may ask at once and one builds."""
    mirror = debian_mirror()
    recipe = f"{mirror} {SUITE} {PACKAGES} {_MASKED} {os.uname().machine}".encode() + Path(__file__).read_bytes()
    cache = cache_directory()
    place = cache / f"base-{hashlib.sha256(recipe).hexdigest()[:16]}"
    if place.exists():
        return place
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            for stale in cache.glob("build-*"):  # we hold the lock, so nobody builds there any more
                _remove_tree(stale)
            say("building the test hosts' Debian with debootstrap (about a minute and 330 MB, once)")
            with _scratch(cache) as scratch:
                _debootstrap(scratch, mirror)
                _adapt(scratch)
                scratch.rename(place)
    return place


@contextmanager
def _scratch(cache: Path) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="build-", dir=cache))
    folder.chmod(0o755)  # it becomes the hosts' root folder
    try:
        yield folder
    finally:
        if folder.exists():
            _remove_tree(folder)


def _remove_tree(folder: Path) -> None:
    unmount_below(folder)  # debootstrap mounts /proc and /sys in there
    shutil.rmtree(folder)


def _debootstrap(tree: Path, mirror: str) -> None:
    command = ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, str(tree), mirror]
    log = cache_directory() / "debootstrap.log"
    with log.open("wb") as out:
        builder = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            status = builder.wait(_BUILD_S)
        except BaseException as error:
            os.killpg(builder.pid, signal.SIGKILL)
            builder.wait()
            if isinstance(error, subprocess.TimeoutExpired):
                raise BenchFailed(f"debootstrap was not done within {_BUILD_S:g} s; its log is {log}.") from error
            raise
    if status != 0:
        last = "\n".join(log.read_text(errors="replace").splitlines()[-5:])
        raise BenchFailed(f"debootstrap of {SUITE} from {mirror} ended with {status}; its log {log} ends:\n{last}")


def _adapt(tree: Path) -> None:
    """Do what every host needs and no test changes."""
    units = tree / "etc/systemd/system"
    for unit in _MASKED:
        (units / unit).unlink(missing_ok=True)
        (units / unit).symlink_to(os.devnull)
    wants = units / "multi-user.target.wants"
    (wants / "systemd-networkd.service").symlink_to("/lib/systemd/system/systemd-networkd.service")
    for key in (tree / "etc/ssh").glob("ssh_host_*"):  # each host gets its own
        key.unlink()
    for cached in (tree / "var/cache/apt/archives").glob("*.deb"):
        cached.unlink()
    # `ops` is whom operators log in as: a plain user who may run the agent by sudo.
    done = subprocess.run(
        ["chroot", str(tree), "useradd", "--create-home", "--shell", "/bin/bash", "ops"],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise BenchFailed(f"The user ops could not be made in the hosts' Debian: {done.stderr.strip()}")
