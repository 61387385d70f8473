# SPDX-License-Identifier: Apache-2.0
"""A test host hardened as sites do it: folders from which nothing runs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from bench.hosts import Host

__all__ = ["FOLDERS", "noexec"]

# /home too: some guides want it, and Ansible's own folder on a host is there.
FOLDERS = ("/tmp", "/var/tmp", "/dev/shm", "/home")  # noqa: S108 (the folders that this is about)


@contextmanager
def noexec(host: Host, folders: Sequence[str] = FOLDERS) -> Iterator[None]:
    """Have nothing run from these folders."""
    options = "remount,bind,noexec,nosuid,nodev"
    script = "; ".join(f"mount --bind {name} {name} && mount -o {options} {name}" for name in folders)
    host.run(["sh", "-c", f"set -e; {script}"], check=True)
    try:
        yield
    finally:
        host.run(["sh", "-c", "; ".join(f"umount {name}" for name in folders)], check=True)
