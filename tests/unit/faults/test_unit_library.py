# SPDX-License-Identifier: Apache-2.0
"""Which library a fault may bring into a unit, what a unit has loaded, and what a driver's library tells a process."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from chaosgpu.agent.clock import SystemClock
from chaosgpu.agent.driver import ForkedDriver
from chaosgpu.agent.errors import BadRequest, NoEffect, Refused, Unanswered
from chaosgpu.agent.faults import library_answers, unit_search, unit_state
from chaosgpu.agent.faults.contract import Context
from chaosgpu.agent.faults.library_answers import first_answer
from chaosgpu.agent.faults.library_shadow import _asked_for
from chaosgpu.agent.faults.unit_cover import covers_for, own_files
from chaosgpu.agent.faults.unit_library import LibraryFile, loaded, parse_file, take, usable
from chaosgpu.agent.faults.unit_search import SearchFolder, folder_for
from chaosgpu.agent.faults.unit_state import UnitState
from chaosgpu.sim import build
from chaosgpu.sim.instance import Instance, create
from support.host_tree import compiled_library
from unit.faults.rig import refusal

_LOADS = (
    "import ctypes, sys; [ctypes.CDLL(path) for path in sys.argv[1:]]; print('loaded', flush=True); sys.stdin.read()"
)
_LIBRARY = "/opt/cuda/libcusparse.so.12"
BAD: list[tuple[str, dict[str, object], str]] = [
    ("library.mismatch", {"unit": "x.service"}, "files must be a list"),
    ("library.mismatch", {"unit": "x.service", "files": []}, "files must be a list"),
    ("library.mismatch", {"unit": "x.service", "files": ["libcuda.so.1"]}, "files must be the whole path"),
    ("library.mismatch", {"unit": "x.service", "files": [_LIBRARY]}, "one file each of libcuda and libnvidia-ml"),
    ("library.mismatch", {"unit": "x.service", "files": ["/a/libcuda.so.1", "/b/libcuda.so.1"]}, "one file each of"),
    ("library.mismatch", {"unit": "x", "files": ["/a/libcuda.so.1"]}, "whole name of a service"),
    ("library.shadow", {"unit": "x.service"}, "file must be a text"),
    ("library.shadow", {"unit": "x.service", "file": "/lib/libc.so.6"}, "one of NVIDIA's libraries"),
    ("library.shadow", {"unit": "x.service", "file": "/a b/libcusparse.so.12"}, "without blanks or colons"),
    ("library.shadow", {"unit": "x.service", "file": "/a:b/libcusparse.so.12"}, "without blanks or colons"),
    ("library.shadow", {"unit": "x.service", "file": "/a%b/libcusparse.so.12"}, "without blanks or colons"),
    ("library.shadow", {"unit": "x.service", "file": _LIBRARY, "as_name": "libcublas.so.12"}, "as_name must be a name"),
    ("library.shadow", {"unit": "x.service", "file": _LIBRARY, "as_name": "../libcusparse.so"}, "as_name must be a"),
    ("library.shadow", {"unit": "x.service", "file": _LIBRARY, "loads_within_s": 0}, "loads_within_s must be between"),
]


@pytest.mark.parametrize(("fault", "raw", "sentence"), BAD)
def test_a_bad_value_is_refused_with_a_sentence(fault: str, raw: dict[str, object], sentence: str) -> None:
    assert sentence in refusal(fault, raw)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["libcuda.so.575.57.08", "libnvJitLink.so.12", "libcudnn_ops.so.9", "libnccl.so.2.21"])
def test_nvidias_own_families_are_taken(name: str) -> None:
    assert parse_file({"file": f"/opt/a-b_c+1/{name}"}, "file").endswith(name)


@pytest.mark.parametrize("name", ["libcurl.so.4", "libcupsimage.so.2", "libnvme.so.1", "libcuda.so.1.txt", "cuda.so.1"])
def test_other_libraries_are_not_whose_names_begin_alike(name: str) -> None:
    with pytest.raises(BadRequest, match="one of NVIDIA's libraries"):
        parse_file({"file": f"/opt/{name}"}, "file")


@pytest.mark.parametrize(
    ("loaded_file", "asked_for"),
    [
        ("/a/libcusparse.so.12.5.10.65", "libcusparse.so.12"),
        ("/a/libcusparse.so.12", "libcusparse.so.12"),
        ("/a/libcusparse.so", "libcusparse.so"),
    ],
)
def test_the_name_that_programs_ask_for_is_that_of_the_file_in_use_up_to_its_first_number(
    loaded_file: str, asked_for: str
) -> None:
    assert _asked_for(loaded_file) == asked_for


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a folder that everybody may enter, as /opt is."""
    for one in (tmp_path, *tmp_path.parents):
        if one.owner() == "root" and one != Path("/tmp"):  # noqa: S108 (its own rights stay)
            one.chmod(0o755)
    return tmp_path


@pytest.fixture
def library(folder: Path) -> Path:
    return compiled_library(folder / "toolkit/libcusparse.so.12.5.10.65", "libcusparse.so.12")


def test_a_library_is_used_by_its_real_path_and_known_again_until_somebody_replaces_it(library: Path) -> None:
    link = library.with_name("libcusparse.so.12")
    link.symlink_to(library.name)
    taken = take(str(link))
    assert taken.path == str(library)
    assert LibraryFile.from_json(taken.to_json()) == taken
    assert (taken.unchanged(), taken.is_at(str(link))) == (True, True)
    shutil.copy(library, library.with_name("new"))
    library.with_name("new").rename(library)
    assert (taken.unchanged(), taken.is_at(str(link))) == (False, False)


def _not_there(path: Path) -> None:
    path.unlink()


def _no_library(path: Path) -> None:
    path.write_text("no library\n" * 10)


def _for_another_processor(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[18:20] = b"\xf7\x00"  # BPF
    path.write_bytes(content)


def _of_another_user(path: Path) -> None:
    os.chown(path, 1000, -1)


def _for_all_to_write(path: Path) -> None:
    path.chmod(0o666)


def _for_its_owner_alone(path: Path) -> None:
    path.chmod(0o700)


def _in_a_hidden_folder(path: Path) -> None:
    path.parent.chmod(0o700)


def _a_link_to_something_else(path: Path) -> None:
    path.rename(path.with_name("other.so"))
    path.symlink_to("other.so")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (_not_there, "No such file"),
        (_no_library, "no library for this machine's processor"),
        (_for_another_processor, "no library for this machine's processor"),
        (_of_another_user, "must belong to root"),
        (_for_all_to_write, "must belong to root"),
        (_for_its_owner_alone, "its owner alone may read it"),
        (_in_a_hidden_folder, "may be entered by its owner alone"),
        (_a_link_to_something_else, "has no name of one of NVIDIA's libraries"),
    ],
)
def test_a_file_that_no_service_should_load_is_refused(
    spoil: Callable[[Path], None], sentence: str, library: Path
) -> None:
    usable(str(library))  # the control
    spoil(library)
    with pytest.raises(Refused, match=sentence):
        usable(str(library))


@pytest.fixture
def unit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., UnitState]]:
    """Run a process that loads these files, in a control group of its own as far as the agent can see."""
    started: list[subprocess.Popen[bytes]] = []
    monkeypatch.setattr(unit_state, "CGROUPS", str(tmp_path / "cgroup"))

    def run(*paths: Path) -> UnitState:
        words = [sys.executable, "-c", _LOADS, *map(str, paths)]
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"loaded\n"
        (tmp_path / "cgroup/x.service").mkdir(parents=True, exist_ok=True)
        (tmp_path / "cgroup/x.service/cgroup.procs").write_text("".join(f"{one.pid}\n" for one in started))
        return UnitState({"Id": ("x.service",), "ControlGroup": ("/x.service",)})

    yield run
    for process in started:
        process.communicate(timeout=20)


def test_what_a_unit_has_loaded_is_told_with_what_was_replaced_since(
    unit: Callable[..., UnitState], library: Path
) -> None:
    state = unit(library)
    assert [(one.path, one.deleted) for one in loaded(state, ["libcusparse"])] == [(str(library), False)]
    assert loaded(state, ["libcublas"]) == []
    shutil.copy(library, library.with_name("new"))
    library.with_name("new").rename(library)
    assert [(one.path, one.deleted) for one in loaded(state, ["libcusparse"])] == [(str(library), True)]


def test_what_is_covered_is_what_the_unit_has_loaded_and_one_that_it_has_not_is_no_effect(
    unit: Callable[..., UnitState], folder: Path
) -> None:
    own = compiled_library(folder / "own/libcuda.so.580.95.05", "libcuda.so.1")
    other = compiled_library(folder / "other/libcuda.so.575.57.08", "libcuda.so.1")
    state = unit(own)
    [cover] = covers_for(state, [str(other)])
    assert cover.line == f"BindReadOnlyPaths={other}:{own}"
    assert not cover.seen_by(os.getpid())
    with pytest.raises(NoEffect, match=r"has libnvidia-ml loaded now, so .* would cover nothing"):
        own_files(state, ["/x/libnvidia-ml.so.1"])
    own.unlink()
    with pytest.raises(Refused, match="was replaced on the disk: restart it first"):
        own_files(state, [str(other)])


@pytest.fixture
def gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Instance:
    """Make GPUs that this process's children find by the library's path."""
    made = create(tmp_path, "h100", 1)
    monkeypatch.setenv("CHAOSGPU_SIM_STATE", str(made.state))
    return made


@pytest.mark.parametrize(("name", "mismatch"), [("libcuda", 803), ("libnvidia-ml", 18)])
def test_a_driver_library_is_asked_what_a_process_is_told_by_it(name: str, mismatch: int, gpus: Instance) -> None:
    other = build.libraries(driver_version="575.57.08")
    assert first_answer(str(gpus.libraries / f"lib/{name}.so.1"), name) == 0
    assert first_answer(str(other / f"lib/{name}.so.1"), name) == mismatch
    assert str(other) not in Path("/proc/self/maps").read_text()  # it was asked in another process


def test_a_library_that_cannot_be_loaded_or_does_not_answer_is_said(
    gpus: Instance, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = compiled_library(folder / "libcuda.so.1", "libcuda.so.1")
    with pytest.raises(Refused, match="undefined symbol: cuInit"):
        first_answer(str(empty), "libcuda")
    monkeypatch.setattr(library_answers, "_WITHIN_S", 0.3)
    gpus.inject("hang", function="cuInit", hang_s=60)
    with pytest.raises(Unanswered, match=r"cuInit of .* did not come back within 0\.3 s"):
        first_answer(str(gpus.libraries / "lib/libcuda.so.1"), "libcuda")


@pytest.fixture
def search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SearchFolder:
    monkeypatch.setattr(unit_search, "RUNTIME", str(tmp_path))
    context = Context(ForkedDriver({}), SystemClock(), lease_dir="/leases/l1")
    return folder_for("libcusparse.so.12", _LIBRARY, context)


def test_a_folder_for_the_search_path_is_made_again_and_taken_away_again(search: SearchFolder) -> None:
    search.make()
    search.make()
    assert str(Path(search.link).readlink()) == _LIBRARY
    assert Path(search.folder).stat().st_mode & 0o777 == 0o755
    assert (search.before(None), search.before("/a:/b")) == (search.folder, f"{search.folder}:/a:/b")
    assert SearchFolder.from_json(search.to_json()) == search
    search.remove()
    search.remove()
    assert (search.left(), Path(search.folder).exists()) == ("", False)


def test_what_somebody_else_put_there_is_neither_overwritten_nor_removed(search: SearchFolder) -> None:
    replace(search, target="/theirs/libcusparse.so.12").make()
    with pytest.raises(Refused, match="is there already and is not ours"):
        search.make()
    search.remove()
    assert str(Path(search.link).readlink()) == "/theirs/libcusparse.so.12"
    assert "is still there" in search.left()
