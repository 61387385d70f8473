# SPDX-License-Identifier: Apache-2.0
"""Package files with NVIDIA's names, dependencies and configuration files, built here in a second, and a repository.

Each script of a package waits where a test says so: a file /run/gate/PACKAGE.SCRIPT holds it while it is there, and
/run/at/PACKAGE.SCRIPT tells that it has come so far. That is how dpkg is caught in one state and no other.
"""

import gzip
import hashlib
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["FIRST", "LATER", "LIBRARIES", "NAMES", "OLD", "Deb", "build_repository", "index"]

OLD, FIRST, LATER = ALL = ("570.172.08-1", "580.65.06-1", "580.95.05-1")
SCRIPTS = ("preinst", "postinst", "prerm", "postrm")
_SOURCE = "nvidia-graphics-drivers"
_GATE = """#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
if [ -d /run/gate ]; then
    mkdir -p /run/at
    echo "$1" > /run/at/{name}.{script}
    while [ -e /run/gate/{name}.{script} ]; do sleep 0.02; done
    [ ! -e /run/gate/fail.{name}.{script}.{version} ] || exit 1
fi
{body}
exit 0
"""
# As DKMS does it: the module is built on the host, and no package owns it.
_BUILD = """\
case "$1" in configure)
    mkdir -p /lib/modules/6.1.0-test/updates/dkms
    echo "module {version}" > /lib/modules/6.1.0-test/updates/dkms/nvidia.ko
;; esac"""
_UNBUILD = 'case "$1" in remove) rm -f /lib/modules/6.1.0-test/updates/dkms/nvidia.ko ;; esac'


@dataclass(frozen=True)
class Deb:
    """One package in every version; {version} is filled in, {upstream} without Debian's part."""

    name: str
    depends: str = ""
    files: dict[str, str] = field(default_factory=dict)
    conffiles: dict[str, str] = field(default_factory=dict)
    since: str = OLD
    postinst: str = ""
    prerm: str = ""


DEBS = (
    Deb(
        "nvidia-open",
        "libnvidia-compute (= {version}), nvidia-kernel-open (= {version}), nvidia-utils (= {version})",
        {"/usr/share/doc/nvidia-open/README": "meta {version}\n"},
    ),
    Deb("libnvidia-compute", "{gpucomp}", {"/usr/lib/nvidia/libcuda.so.{upstream}": "cuda {version}\n"}),
    Deb(
        "libnvidia-gpucomp", "", {"/usr/lib/nvidia/libnvidia-gpucomp.so.{upstream}": "gpucomp {version}\n"}, since=FIRST
    ),
    Deb(
        "nvidia-kernel-open",
        "",
        {"/usr/src/nvidia-{upstream}/nvidia.c": "int version = {version};\n"},
        {"/etc/modprobe.d/nvidia-graphics.conf": "options nvidia NVreg_Tuned={version}\n"},
        postinst=_BUILD,
        prerm=_UNBUILD,
    ),
    Deb("nvidia-utils", "", {"/usr/bin/nvidia-bug-report.sh": "#!/bin/sh\necho {version}\n"}),
    Deb(
        "nvidia-fabricmanager",
        "",
        {"/usr/bin/nv-fabricmanager": "fm {version}\n"},
        {"/usr/share/nvidia/nvswitch/fabricmanager.cfg": "LOG_LEVEL=4\nVERSION={version}\n"},
    ),
    Deb("nvidia-persistenced", "", {}, {"/etc/nvidia/persistenced.conf": "user=nvidia {version}\n"}),
)
NAMES = tuple(one.name for one in DEBS)


# Where Debian and NVIDIA put the driver's libraries, and what leads to them.
LIBRARIES = "/usr/lib/x86_64-linux-gnu"
_DRIVER = ("libcuda.so", "libnvidia-ml.so")


def build_repository(
    folder: Path,
    *,
    scripts: bool = True,
    driver: Callable[[str], Path] | None = None,
    versions: Sequence[str] = ALL,
    debs: Sequence[Deb] = DEBS,
) -> None:
    """Build every package in every version into a folder, with the index that apt reads.

    `driver` gives the folder with a version's real libraries: libnvidia-compute then has them under NVIDIA's names.
    """
    folder.mkdir(parents=True, exist_ok=True)
    due = [(one, version) for version in versions for one in debs if version >= one.since]
    for one, version in due:
        _build(folder, one, version, scripts=scripts, driver=driver)
    index(folder)


def index(folder: Path) -> None:
    """Write the index that apt reads over the package files in a folder."""
    rows = [_entry(made) for made in sorted(folder.glob("*.deb"))]
    (folder / "Packages").write_text("\n".join(rows))
    (folder / "Packages.gz").write_bytes(gzip.compress((folder / "Packages").read_bytes()))


def _build(folder: Path, one: Deb, version: str, *, scripts: bool, driver: Callable[[str], Path] | None = None) -> None:
    tree = folder / "making"
    words = {
        "version": version,
        "upstream": version.partition("-")[0],
        "gpucomp": "libnvidia-gpucomp (= {version})" if version >= FIRST else "",
    }
    words["gpucomp"] = words["gpucomp"].format(version=version)
    contents = {name.format(**words): text.format(**words) for name, text in {**one.files, **one.conffiles}.items()}
    for name, text in contents.items():
        path = tree / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755 if text.startswith("#!") else 0o644)
    if driver is not None and one.name == "libnvidia-compute":
        _put_driver(tree / LIBRARIES.lstrip("/"), driver(words["upstream"]), words["upstream"])
    control = tree / "DEBIAN"
    control.mkdir()
    (control / "control").write_text("\n".join(_control(one, version, words)) + "\n")
    (control / "md5sums").write_text("".join(_sums(contents, one)))
    if one.conffiles:
        (control / "conffiles").write_text("\n".join(one.conffiles) + "\n")
    for script in SCRIPTS if scripts else ():
        body = {"postinst": one.postinst, "prerm": one.prerm}.get(script, "").format(**words)
        (control / script).write_text(_GATE.format(name=one.name, script=script, version=version, body=body))
        (control / script).chmod(0o755)
    made = folder / f"{one.name}_{version}_amd64.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-Znone", "-b", str(tree), str(made)], check=True, capture_output=True
    )
    subprocess.run(["rm", "-r", str(tree)], check=True)


def _put_driver(place: Path, source: Path, upstream: str) -> None:
    place.mkdir(parents=True)
    for name in _DRIVER:
        (place / f"{name}.{upstream}").write_bytes((source / f"{name}.1").read_bytes())
        (place / f"{name}.1").symlink_to(f"{name}.{upstream}")


def _control(one: Deb, version: str, words: dict[str, str]) -> Iterator[str]:
    yield f"Package: {one.name}\nSource: {_SOURCE}\nVersion: {version}\nArchitecture: amd64"
    yield "Maintainer: chaosgpu tests <tests@example.invalid>"
    depends = one.depends.format(**words)
    if depends:
        yield f"Depends: {depends}"
    yield f"Description: {one.name}, for tests"


def _sums(contents: dict[str, str], one: Deb) -> Iterator[str]:
    for name, text in sorted(contents.items()):
        if name not in one.conffiles:
            yield f"{hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()}  {name.lstrip('/')}\n"


def _entry(made: Path) -> str:
    control = subprocess.run(["dpkg-deb", "--field", str(made)], check=True, capture_output=True, text=True).stdout
    content = made.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return f"{control}Filename: ./{made.name}\nSize: {len(content)}\nSHA256: {digest}\n"
