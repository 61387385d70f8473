# SPDX-License-Identifier: Apache-2.0
"""What is in the wheel, and what must never be in it."""

import subprocess
import zipfile
from pathlib import Path

import pytest

from support.installed import ROOT, Installed

NVIDIA_NAMES = ("libnvidia-ml.so", "libcuda.so", "nvidia-smi")


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_it_is_pure_python(wheel: Path) -> None:
    assert wheel.name.endswith("-py3-none-any.whl")


def test_it_holds_no_file_of_a_name_of_nvidia_s_and_nothing_compiled(names: set[str]) -> None:
    assert [name for name in names if Path(name).name.startswith(NVIDIA_NAMES)] == []
    assert [name for name in names if name.endswith((".so", ".o", ".pyc", ".a"))] == []


def test_it_says_that_it_is_typed_and_carries_the_licence(names: set[str]) -> None:
    assert "chaosgpu/py.typed" in names
    assert [name for name in names if name.endswith("/LICENSE")]


@pytest.mark.parametrize(
    "folder",
    [
        "chaosgpu/agent/schemas",
        "chaosgpu/agent/shim",
        "chaosgpu/cuda/data",
        "chaosgpu/evidence/data",
        "chaosgpu/sim/src",
        "chaosgpu/sim/profiles",
        "chaosgpu/lab",
        "chaosgpu/fleet/ansible_plugins",
    ],
)
def test_it_holds_every_tracked_file_of_a_data_folder(folder: str, names: set[str]) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", folder], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True
    )
    tracked = {name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()}
    assert tracked
    assert tracked - names == set()


def test_it_holds_the_playbooks_inside_the_package(names: set[str]) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "playbooks"], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True
    )
    tracked = {name for name in listed.stdout.split("\0") if name and not Path(name).name.startswith(".")}
    assert tracked
    assert {f"chaosgpu/{name}" for name in tracked} - names == set()


@pytest.mark.parametrize("installed", ["from_wheel", "editable"])
def test_the_command_tells_where_the_playbooks_are(installed: str, request: pytest.FixtureRequest) -> None:
    environment: Installed = request.getfixturevalue(installed)
    command = environment.python.with_name("chaosgpu")
    told = subprocess.run([command, "playbooks"], capture_output=True, text=True, timeout=60, check=True).stdout
    folder = Path(told.strip())
    assert (folder / "pin.yml").is_file()
    assert (folder / "action_plugins/chaosgpu_host.py").is_file()


def test_it_holds_every_tracked_python_file_and_no_tests(names: set[str]) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "chaosgpu"], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True
    )
    python = {name for name in listed.stdout.split("\0") if name.endswith(".py") and (ROOT / name).is_file()}
    assert python - names == set()
    assert {name.partition("/")[0] for name in names if ".dist-info" not in name} == {"chaosgpu"}


def test_the_command_of_the_installed_wheel_lints(from_wheel: Installed) -> None:
    path = from_wheel.folder / "experiment.yaml"
    path.write_text("title: t\ndescription: d\nmethod: []\n")
    command = from_wheel.python.with_name("chaosgpu")
    ended = subprocess.run([command, "lint", path], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (0, f"{path}: clean\n")
    assert str(ROOT) not in from_wheel.run("-c", "import chaosgpu; print(chaosgpu.__file__)")
