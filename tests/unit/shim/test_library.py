# SPDX-License-Identifier: Apache-2.0
"""Where the shim's library comes from, and every case in which there is none."""

import hashlib
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from chaosgpu.agent import zipapp
from chaosgpu.agent.errors import Refused
from chaosgpu.agent.shim.library import Library, Prebuilt, provide


def test_it_is_built_once(root: Path, shim: Library) -> None:
    before = Path(shim.path).stat().st_mtime_ns
    assert provide(str(root), None) == shim
    assert Path(shim.path).stat().st_mtime_ns == before
    assert hashlib.sha256(Path(shim.path).read_bytes()).hexdigest() == shim.sha256
    assert [path.name for path in (root / "shim").iterdir() if path.name.startswith("making-")] == []


def test_without_a_compiler_it_says_what_to_install(root: Path) -> None:
    with pytest.raises(Refused, match=r"no C compiler on this host.*apt-get install gcc libc6-dev"):
        provide(str(root), None, compilers=("/nonexistent/cc",))


def test_a_compiler_that_fails_is_refused_with_its_own_words(root: Path) -> None:
    broken = root / "cc"
    broken.write_text("#!/bin/sh\necho no dlfcn.h here >&2\nexit 1\n")
    broken.chmod(0o755)
    with pytest.raises(Refused, match=r"no dlfcn\.h here"):
        provide(str(root), None, compilers=(str(broken),))


@pytest.fixture
def elsewhere(root: Path, shim: Library) -> Path:
    made = root / "elsewhere.so"
    shutil.copy(shim.path, made)
    made.chmod(0o644)
    return made


def test_one_that_was_built_elsewhere_is_taken_by_its_digest(root: Path, shim: Library, elsewhere: Path) -> None:
    found = provide(str(root), Prebuilt(str(elsewhere), shim.sha256), compilers=())
    assert (found.sha256, Path(found.path).read_bytes()) == (shim.sha256, elsewhere.read_bytes())
    assert found.path != str(elsewhere)


def test_another_digest_is_refused(root: Path, elsewhere: Path) -> None:
    with pytest.raises(Refused, match="its SHA-256 is"):
        provide(str(root), Prebuilt(str(elsewhere), "0" * 64))


def test_one_that_others_may_write_is_refused(root: Path, shim: Library, elsewhere: Path) -> None:
    elsewhere.chmod(0o666)
    with pytest.raises(Refused, match="nobody else to write it"):
        provide(str(root), Prebuilt(str(elsewhere), shim.sha256))


def test_one_that_is_not_there_is_refused(root: Path) -> None:
    with pytest.raises(Refused, match="No such file"):
        provide(str(root), Prebuilt(str(root / "nothing.so"), "0" * 64))


def test_a_place_that_a_service_could_not_reach_is_refused(tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir(mode=0o700)
    with pytest.raises(Refused, match="so no service could load"):
        provide(str(hidden), None)


def test_the_agent_as_one_file_has_the_sources_and_builds_from_them(root: Path, shim: Library) -> None:
    agent = zipapp.build(root / "agent.pyz")
    assert {"chaosgpu/agent/shim/shim.c", "chaosgpu/agent/shim/calls.h"} <= set(zipfile.ZipFile(agent).namelist())
    words = f"import sys; sys.path.insert(0, {str(agent)!r}); from chaosgpu.agent.shim import library as l"
    words += f"; assert l.__file__.startswith({str(agent)!r}); print(l.provide({str(root / 'other')!r}, None).sha256)"
    (root / "other").mkdir(exist_ok=True)
    done = subprocess.run([sys.executable, "-I", "-S", "-c", words], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == shim.sha256
