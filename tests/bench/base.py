# SPDX-License-Identifier: Apache-2.0
"""The Debian that all hosts share: built once by debootstrap, kept in the cache under the digest of how it was made."""

import hashlib
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from bench import groups
from bench.cached import builders, cache_directory, cached
from bench.plan import BenchFailed
from bench.sources import debian_mirror

__all__ = ["base"]

SUITE = "bookworm"
PACKAGES = (
    "cron", "dbus", "iproute2", "kmod", "libpam-systemd", "libpython3.11", "nftables", "openssh-server", "procps",
    "python3", "strace", "sudo", "systemd", "systemd-sysv",
)  # fmt: skip
# Nobody is to work on the hosts by the hour, nor to log in at a console.
_MASKED = (
    "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer",
    "e2scrub_reap.service", "console-getty.service", "getty@tty1.service", "systemd-pstore.service",
)  # fmt: skip
_BUILD_S = 900.0


def base(say: Callable[[str], None]) -> Path:
    """Return the tree, building it if it is not there; many may ask at once and one builds."""
    mirror = debian_mirror()
    inputs = f"{mirror} {SUITE} {PACKAGES} {_MASKED} {os.uname().machine}".encode() + Path(__file__).read_bytes()

    def build(tree: Path) -> None:
        say("building the test hosts' Debian with debootstrap (about a minute and 330 MB, once)")
        _debootstrap(tree, mirror)
        _adapt(tree)

    return cached(cache_directory() / f"base-{hashlib.sha256(inputs).hexdigest()[:16]}", build)


def _debootstrap(tree: Path, mirror: str) -> None:
    command = ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, str(tree), mirror]
    log = cache_directory() / "debootstrap.log"
    ours = builders(cache_directory())
    groups.make(ours)
    with log.open("wb") as out:
        builder = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=groups.enter(ours),  # noqa: PLW1509 (a write, before threads)
        )
        try:
            status = builder.wait(_BUILD_S)
        except subprocess.TimeoutExpired as error:
            raise BenchFailed(f"debootstrap was not done within {_BUILD_S:g} s; its log is {log}.") from error
        finally:
            groups.kill(ours)
            builder.wait()
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
    for package in (tree / "var/cache/apt/archives").glob("*.deb"):
        package.unlink()
    # `ops` is whom operators log in as: a plain user who may run the agent by sudo.
    done = subprocess.run(
        ["chroot", str(tree), "useradd", "--create-home", "--shell", "/bin/bash", "ops"],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise BenchFailed(f"The user ops could not be made in the hosts' Debian: {done.stderr.strip()}")
