# SPDX-License-Identifier: Apache-2.0
"""Specs of RPM packages with NVIDIA's names, epoch, dependencies and configuration files, as rpmbuild takes them.

Each script waits where a test says so: a file /run/gate/PACKAGE.SCRIPT holds it while it is there, and
/run/at/PACKAGE.SCRIPT tells that it has come so far; /run/gate/fail.PACKAGE.SCRIPT.VERSION lets it fail.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = ["FIRST", "LATER", "NAMES", "OLD", "evr", "specs"]

OLD, FIRST, LATER = ALL = ("570.172.08", "580.65.06", "580.95.05")
_RELEASE = "1.el9"
_EPOCH = 3  # NVIDIA's own, of all that is built with the driver
_SCRIPTS = ("pre", "post", "preun", "postun")
_HEAD = """\
%global debug_package %{{nil}}
%global __os_install_post %{{nil}}
%global _build_id_links none
Name: {name}
{epoch}Version: {version}
Release: {release}
Summary: {name}, for tests
License: Apache-2.0
AutoReqProv: no
"""
_GATE = """\
if [ -d /run/gate ]; then
    mkdir -p /run/at
    echo "$1" > /run/at/{name}.{script}
    while [ -e /run/gate/{name}.{script} ]; do sleep 0.02; done
    [ ! -e /run/gate/fail.{name}.{script}.{version} ] || exit 1
fi
"""
# As DKMS does it: the module is built on the host, and no package owns it.
_BUILD = """\
mkdir -p /lib/modules/5.14.0-test/extra
echo "module {version}" > /lib/modules/5.14.0-test/extra/nvidia.ko
"""
_UNBUILD = '[ "$1" != 0 ] || rm -f /lib/modules/5.14.0-test/extra/nvidia.ko\n'


@dataclass(frozen=True)
class Rpm:
    """One package in every version; {version} is filled in, {whole} with epoch and release."""

    name: str
    requires: tuple[str, ...] = ()
    files: dict[str, str] = field(default_factory=dict)
    config: dict[str, str] = field(default_factory=dict)
    since: str = OLD
    scripts: dict[str, str] = field(default_factory=dict)


_DRIVER = (
    Rpm("nvidia-open", ("nvidia-driver-cuda = {whole}", "kmod-nvidia-open-dkms = {whole}")),
    Rpm("nvidia-driver-cuda", ("nvidia-driver-cuda-libs = {whole}",), {"/usr/bin/nvidia-smi": "#!/bin/sh\n"}),
    Rpm("nvidia-driver-cuda-libs", ("{gpucomp}",), {"/usr/lib64/libcuda.so.{version}": "cuda {version}\n"}),
    Rpm("libnvidia-gpucomp", (), {"/usr/lib64/libnvidia-gpucomp.so.{version}": "gpucomp {version}\n"}, since=FIRST),
    Rpm(
        "kmod-nvidia-open-dkms",
        (),
        {"/usr/src/nvidia-open-{version}/nvidia.c": "int version = {version};\n"},
        {"/etc/modprobe.d/nvidia.conf": "options nvidia NVreg_Tuned={version}\n"},
        scripts={"post": _BUILD, "preun": _UNBUILD},
    ),
)
_MANAGER = Rpm(
    "nvidia-fabricmanager",
    (),
    {"/usr/bin/nv-fabricmanager": "fm {version}\n"},
    {"/usr/share/nvidia/nvswitch/fabricmanager.cfg": "LOG_LEVEL=4\nVERSION={version}\n"},
)
NAMES = tuple(one.name for one in (*_DRIVER, _MANAGER))
# What Debian gives the host and no RPM tells of.
_BASE = (
    _HEAD.format(name="rocky-release", epoch="", version="9.4", release="1.el9")
    + """
Provides: system-release = 9
Provides: system-release(releasever) = 9
Provides: /bin/sh
%description
What the other packages stand on.
%files
"""
)


def evr(name: str, version: str) -> str:
    """Return a version as a lock file has it, with the epoch where the package has one."""
    whole = f"{version}-{_RELEASE}"
    return whole if name == _MANAGER.name else f"{_EPOCH}:{whole}"


def specs() -> dict[str, str]:
    """Return every spec by its file name: what a system has, then driver and fabric manager in each version."""
    found = {"base.spec": _BASE}
    for version in ALL:
        parts = tuple(one for one in _DRIVER if version >= one.since)
        found[f"driver-{version}.spec"] = _spec(parts, version, f"Epoch: {_EPOCH}\n")
        found[f"manager-{version}.spec"] = _spec((_MANAGER,), version, "")
    return found


def _spec(parts: tuple[Rpm, ...], version: str, epoch: str) -> str:
    first, *others = parts
    words = {"version": version, "whole": evr(first.name, version), "gpucomp": ""}
    if version >= FIRST:
        words["gpucomp"] = f"libnvidia-gpucomp = {words['whole']}"
    head = _HEAD.format(name=first.name, epoch=epoch, version=version, release=_RELEASE)
    text = [head, *_requires(first, words), f"%description\n{first.name}\n"]
    for one in others:
        text += [f"%package -n {one.name}\nSummary: {one.name}, for tests\nAutoReqProv: no\n"]
        text += [*_requires(one, words), f"%description -n {one.name}\n{one.name}\n"]
    text += ["%install\n", *(row for one in parts for row in _install(one, words))]
    for one in parts:
        named = "" if one is first else f" -n {one.name}"
        for script in _SCRIPTS:
            gate = _GATE.format(name=one.name, script=script, version=version)
            text.append(f"%{script}{named}\n{gate}{one.scripts.get(script, '').format(**words)}exit 0\n")
        listed = [*one.files, *(f"%config(noreplace) {path}" for path in one.config)]
        text.append(f"%files{named}\n" + "".join(f"{path.format(**words)}\n" for path in listed))
    return "\n".join(text)


def _requires(one: Rpm, words: dict[str, str]) -> Iterator[str]:
    named = (needed.format(**words) for needed in one.requires)
    yield from (f"Requires: {needed}" for needed in named if needed)


def _install(one: Rpm, words: dict[str, str]) -> Iterator[str]:
    for path, content in {**one.files, **one.config}.items():
        place = f"%{{buildroot}}{path.format(**words)}"
        yield f"mkdir -p $(dirname {place})\ncat > {place} <<'EOF'\n{content.format(**words)}EOF\n"
