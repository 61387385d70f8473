# SPDX-License-Identifier: Apache-2.0
"""A test host hardened as sites do it: folders from which nothing runs, an OpenSSL of FIPS algorithms alone, labels."""

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.cached import cache_directory, cached
from bench.hosts import Host
from bench.sources import debian_mirror

__all__ = ["FOLDERS", "Provider", "fips", "label", "labelled", "noexec", "provider"]

# /home too: some guides want it, and Ansible's own folder on a host is there.
FOLDERS = ("/tmp", "/var/tmp", "/dev/shm", "/home")  # noqa: S108 (the folders that this is about)
_MODULES = "/usr/lib/x86_64-linux-gnu/ossl-modules"
_CONFIGURATION = "/usr/lib/ssl/openssl.cnf"  # where libcrypto looks; the package openssl has a link there
# The default provider is there too, as on Red Hat's systems: asked for what is not for security, it answers.
_TEXT = """\
openssl_conf = openssl_init
.include {folder}/fipsmodule.cnf
[openssl_init]
providers = provider_sect
alg_section = algorithm_sect
[provider_sect]
fips = fips_sect
base = base_sect
default = default_sect
[base_sect]
activate = 1
[default_sect]
activate = 1
[algorithm_sect]
default_properties = fips=yes
"""
# As each system in FIPS mode has it: OpenSSH by itself would take ChaCha20 first, and fail.
_SSHD, _CIPHERS = "/etc/ssh/sshd_config.d/fips.conf", "Ciphers aes256-gcm@openssh.com\n"
_LABEL = "security.selinux"
_SET = "import os,sys; os.setxattr(sys.argv[1], '{}', sys.argv[2].encode() + b'\\0')"
_GET = "import os,sys; print(os.getxattr(sys.argv[1], '{}').rstrip(b'\\0').decode())"


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


@dataclass(frozen=True)
class Provider:
    """OpenSSL's FIPS provider with its configuration, which holds for this machine."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """What has a program on this machine use it."""
        return {"OPENSSL_CONF": str(self.folder / "openssl.cnf"), "OPENSSL_MODULES": str(self.folder)}


def provider(say: Callable[[str], None]) -> Provider:
    """Return the one of Debian 13, which the OpenSSL of Debian 12 takes; fetched once."""
    mirror = debian_mirror()
    inputs = mirror.encode() + Path(__file__).read_bytes()
    place = cache_directory() / f"fips-{hashlib.sha256(inputs).hexdigest()[:16]}"

    def build(folder: Path) -> None:
        say("fetching OpenSSL's FIPS provider (a megabyte, once)")
        with tempfile.TemporaryDirectory(prefix="chaosgpu-fips-") as scratch:
            _fetch(Path(scratch), mirror)
            [found] = Path(scratch).rglob("fips.so")
            shutil.copy(found, folder)
        _run(folder, "openssl", "fipsinstall", "-module", "./fips.so", "-out", "fipsmodule.cnf")
        (folder / "openssl.cnf").write_text(_TEXT.format(folder=place))

    cached(place, build)
    return Provider(place)


@contextmanager
def fips(host: Host, found: Provider) -> Iterator[None]:
    """Give a host's OpenSSL FIPS algorithms alone, for every program that is started from now on."""
    root = Path(f"/proc/{host.init()}/root")
    place, kept = root / _CONFIGURATION.lstrip("/"), root / f"{_CONFIGURATION.lstrip('/')}.kept"
    modules = root / _MODULES.lstrip("/")
    modules.mkdir(exist_ok=True)
    place.parent.mkdir(exist_ok=True)
    shutil.copy(found.folder / "fips.so", modules / "fips.so")
    shutil.copy(found.folder / "fipsmodule.cnf", place.parent)
    had = place.exists() or place.is_symlink()
    if had:
        place.rename(kept)
    place.write_text(_TEXT.format(folder=Path(_CONFIGURATION).parent))
    (root / _SSHD.lstrip("/")).write_text(_CIPHERS)
    host.run(["systemctl", "restart", "ssh"], check=True)
    try:
        yield
    finally:
        (root / _SSHD.lstrip("/")).unlink()
        place.unlink()
        if had:
            kept.rename(place)
        (place.parent / "fipsmodule.cnf").unlink()
        (modules / "fips.so").unlink()
        host.run(["systemctl", "restart", "ssh"], check=True)


def labelled(host: Host, path: str, context: str) -> None:
    """Give a file a label of SELinux's; a kernel without SELinux keeps it and asks nobody about it."""
    host.run(["python3", "-c", _SET.format(_LABEL), path, context], check=True)


def label(host: Host, path: str) -> str:
    """Return the label of a file; empty where it has none."""
    return host.run(["python3", "-c", _GET.format(_LABEL), path]).stdout.strip()


def _fetch(scratch: Path, mirror: str) -> None:
    for name in ("lists/partial", "cache/archives/partial"):
        (scratch / name).mkdir(parents=True)
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    (scratch / "sources.list").write_text(f"deb [signed-by={keyring}] {mirror} trixie main\n")
    places = {
        "Dir::State::lists": scratch / "lists", "Dir::Cache": scratch / "cache",
        "Dir::Etc::sourcelist": scratch / "sources.list", "Dir::Etc::sourceparts": "/dev/null",
        "APT::Sandbox::User": "root", "Acquire::Languages": "none",
    }  # fmt: skip
    apt = ("apt-get", "-q", *(word for name, value in places.items() for word in ("-o", f"{name}={value}")))
    _run(scratch, *apt, "update")
    _run(scratch, *apt, "download", "openssl-provider-fips")
    [package] = scratch.glob("*.deb")
    _run(scratch, "dpkg-deb", "-x", str(package), str(scratch / "found"))


def _run(folder: Path, *words: str) -> None:
    subprocess.run(words, cwd=folder, check=True, capture_output=True, timeout=120)
