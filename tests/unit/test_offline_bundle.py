# SPDX-License-Identifier: Apache-2.0
"""The archive for sites without a network: the same files give the same bytes, and sha256sum reads its checksums.

What it holds is proved each time that it is made: `make offline-bundle` installs from it, and from nothing else.
"""

import importlib.util
import subprocess
from pathlib import Path

import pytest

_PATH = Path(__file__).parents[2] / "scripts" / "offline_bundle.py"
_SPEC = importlib.util.spec_from_file_location("offline_bundle", _PATH)
assert _SPEC is not None
assert _SPEC.loader is not None
bundle = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(bundle)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "chaosgpu-offline"
    (made / "wheels").mkdir(parents=True)
    (made / "wheels" / "a-1-py3-none-any.whl").write_bytes(b"a")
    (made / "README.txt").write_text("read\n")
    bundle.write_sums(made)
    return made


def _checked(where: Path) -> int:
    return subprocess.run(
        ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=where, capture_output=True, check=False,
        timeout=30,
    ).returncode  # fmt: skip


def test_the_same_files_give_the_same_bytes_whenever_they_were_written(folder: Path, tmp_path: Path) -> None:
    bundle.pack(folder, tmp_path / "one.tar.gz")
    (folder / "README.txt").touch()
    (folder / "README.txt").chmod(0o600)
    bundle.pack(folder, tmp_path / "two.tar.gz")
    assert (tmp_path / "one.tar.gz").read_bytes() == (tmp_path / "two.tar.gz").read_bytes()


def test_what_comes_out_of_the_archive_is_what_its_checksums_say(folder: Path, tmp_path: Path) -> None:
    bundle.pack(folder, tmp_path / "one.tar.gz")
    subprocess.run(["tar", "xzf", "one.tar.gz", "--one-top-level=out"], cwd=tmp_path, check=True, timeout=30)
    out = tmp_path / "out" / "chaosgpu-offline"
    assert sorted(path.name for path in out.rglob("*") if path.is_file()) == [
        "README.txt", "SHA256SUMS", "a-1-py3-none-any.whl",
    ]  # fmt: skip
    assert _checked(out) == 0
    (out / "wheels" / "a-1-py3-none-any.whl").write_bytes(b"b")
    assert _checked(out) != 0


def test_a_step_that_fails_says_what_it_was_and_what_came_back() -> None:
    with pytest.raises(bundle.BundleFailed, match=r"To list nothing .* `ls /nowhere` ended with 2: .*/nowhere"):
        bundle._step("list nothing", ["ls", "/nowhere"])
