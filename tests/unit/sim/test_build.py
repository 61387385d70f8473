# SPDX-License-Identifier: Apache-2.0
"""Compiling on first use."""

import subprocess
import sys
from pathlib import Path

import pytest

from chaosgpu.errors import LabFailed
from chaosgpu.sim import build

# `chaosgpu sim` as the command line has it, without the other subcommands.
_SIM = """
import argparse, sys
from chaosgpu.cli import sim
from chaosgpu.errors import ChaosGpuError
parser = argparse.ArgumentParser()
sim.add_parser(parser.add_subparsers())
try:
    sys.exit(sim.run(parser.parse_args()))
except ChaosGpuError as error:
    print(error, file=sys.stderr)
    sys.exit(2)
"""


def test_without_a_compiler_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabFailed, match=r"no C compiler \(`cc`\) on this machine; install one, .*gcc"):
        build.libraries()


def test_the_command_prints_that_sentence_and_nothing_else(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SIM, "sim", "run", "--", "true"],
        capture_output=True,
        text=True,
        env={"PATH": str(tmp_path), "HOME": str(tmp_path)},
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert "no C compiler" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_compiler_that_fails_is_quoted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "cc").write_text("#!/bin/sh\necho 'stdio.h: no such file' >&2\nexit 1\n")
    (tmp_path / "cc").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(LabFailed, match=r"could not build libnvidia-ml\.so\.1: stdio\.h: no such file"):
        build.libraries()
    assert [entry.name for entry in (tmp_path / "cache" / "chaosgpu" / "sim").iterdir()] == [".lock"]


def test_a_cache_that_cannot_be_written_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(LabFailed, match=r"could not be built in .*XDG_CACHE_HOME"):
        build.libraries()


def test_many_first_builds_at_once_give_one_whole_result(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    script = "from chaosgpu.sim import build; print(build.libraries())"
    builders = [subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    places = {builder.communicate()[0].strip() for builder in builders}
    assert [builder.returncode for builder in builders] == [0, 0, 0]
    assert places == {str(build.libraries())}
    assert {entry.name for entry in build.cache_root().iterdir()} == {".lock", build.libraries().name}
    made = {path.relative_to(build.libraries()).as_posix() for path in build.libraries().rglob("*") if path.is_file()}
    assert made == {"lib/libnvidia-ml.so.1", "lib/libcuda.so.1", "bin/nvidia-smi", "libexec/simulator.so"}


def test_a_build_is_not_repeated() -> None:
    place = build.libraries()
    before = (place / "lib" / "libcuda.so.1").stat()
    assert build.libraries() == place
    assert (place / "lib" / "libcuda.so.1").stat().st_mtime_ns == before.st_mtime_ns


def test_the_libraries_have_the_real_names_and_export_only_the_real_interface() -> None:
    for name in ("libnvidia-ml.so.1", "libcuda.so.1"):
        library = build.libraries() / "lib" / name
        dynamic = subprocess.run(["readelf", "-d", str(library)], capture_output=True, text=True, check=True).stdout
        assert f"Library soname: [{name}]" in dynamic
        table = subprocess.run(["nm", "-D", "--defined-only", str(library)], capture_output=True, text=True, check=True)
        exported = {line.split()[-1] for line in table.stdout.splitlines()}
        prefix = "nvml" if name.startswith("libnvidia") else "cu"
        assert {symbol for symbol in exported if not symbol.startswith(prefix)} == {"chaosgpuSimInstance"}
