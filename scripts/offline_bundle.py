# SPDX-License-Identifier: Apache-2.0
"""`make offline-bundle`: one archive from which a controller without a network is installed, and hosts are provisioned.

It holds the wheels of this tree and of all that it needs, the agent's file, the AWX definitions, a CycloneDX SBOM,
checksums and a note. Before it is written, a fresh environment is installed from these wheels alone and asked for its
version. Wheels are for this interpreter and machine: build where both are as on the controller.
"""

import argparse
import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_EPOCH = 315532800  # 1980, the earliest that a wheel can hold
_STEP_S = 600.0
_WHAT = "chaostoolkit-gpu[fleet]"
_NOTE = """\
chaosgpu without a network: see docs/air-gapped.md.

    sha256sum -c SHA256SUMS
    python{python} -m venv /opt/chaosgpu
    /opt/chaosgpu/bin/pip install --no-index --find-links wheels '{what}'
    /opt/chaosgpu/bin/chaosgpu --version

agent.pyz is what `provision` puts on GPU hosts; chaosgpu builds the same bytes itself.
awx/ holds the definitions for AWX; its execution environment installs from wheels/ too.
sbom.cdx.json names every package that the commands above install (CycloneDX, JSON).
"""


class BundleFailed(Exception):
    """A step failed; the text says which, and what came back."""


def fill(folder: Path) -> None:
    """Put everything but the checksums into the folder."""
    wheels = folder / "wheels"
    _step("build the wheel", [sys.executable, "-m", "build", "-q", "--wheel", "--outdir", str(wheels), str(ROOT)])
    [own] = wheels.glob("chaostoolkit_gpu-*.whl")
    _pip("fetch what it needs", "download", "-q", "--only-binary", ":all:", "-d", str(wheels), f"{own}[fleet]")
    _step("build the agent", [sys.executable, "-m", "chaosgpu.agent.zipapp", str(folder / "agent.pyz")])
    shutil.copytree(ROOT / "playbooks" / "awx", folder / "awx")
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    (folder / "README.txt").write_text(_NOTE.format(python=python, what=_WHAT), encoding="utf-8")
    with tempfile.TemporaryDirectory(prefix="chaosgpu-bundle-") as scratch:
        fresh = Path(scratch) / "fresh"
        _step("make a fresh environment", [sys.executable, "-m", "venv", str(fresh)])
        offline = ("--no-index", "--find-links", str(wheels))
        _step("install from the wheels alone", [str(fresh / "bin/pip"), "install", "-q", *offline, _WHAT])
        _step("start what was installed", [str(fresh / "bin/chaosgpu"), "--version"])
        _step(
            "write the SBOM",
            [
                *(str(Path(sys.executable).with_name("cyclonedx-py")), "environment", "--output-reproducible"),
                *("--output-format", "JSON", "--output-file", str(folder / "sbom.cdx.json"), str(fresh / "bin/python")),
            ],
        )


def write_sums(folder: Path) -> None:
    """Write SHA256SUMS over every file there is, as sha256sum reads it."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    lines = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (folder / "SHA256SUMS").write_text("".join(lines), encoding="utf-8")


def pack(folder: Path, output: Path) -> None:
    """Write the archive, whole or not at all; the same files give the same bytes."""
    unfinished = output.with_name(output.name + ".new")
    with (
        unfinished.open("wb") as file,
        gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as archive,
    ):
        for path in sorted(folder.rglob("*")):
            archive.add(path, f"{folder.name}/{path.relative_to(folder)}", recursive=False, filter=_nobody)
    unfinished.replace(output)


def _nobody(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime = _EPOCH
    entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
    return entry


def _pip(what: str, *words: str) -> None:
    _step(what, [sys.executable, "-m", "pip", "--disable-pip-version-check", *words])


def _step(what: str, words: Sequence[str]) -> None:
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(_EPOCH)}
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_STEP_S, check=False,
            env=environment, cwd=ROOT,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BundleFailed(f"To {what} did not work: {error}.") from error
    if done.returncode != 0:
        told = (done.stderr or done.stdout).strip()[-1500:]
        raise BundleFailed(f"To {what} did not work: `{' '.join(words)}` ended with {done.returncode}: {told}")


def main(argv: Sequence[str]) -> int:
    """Write the archive; 1 with a sentence where a step fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path, help="the archive, such as dist/chaosgpu-offline.tar.gz")
    output = parser.parse_args(argv).output.absolute()
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="chaosgpu-bundle-") as scratch:
        folder = Path(scratch) / output.name.partition(".")[0]
        folder.mkdir()
        try:
            fill(folder)
        except BundleFailed as error:
            sys.stderr.write(f"{error}\n")
            return 1
        write_sums(folder)
        pack(folder, output)
    sys.stdout.write(f"{output}: {output.stat().st_size >> 20} MiB\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
