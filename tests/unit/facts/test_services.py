# SPDX-License-Identifier: Apache-2.0
"""What a real process has loaded is read from its maps: twice is seen, a replaced file is seen, silence is unknown."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from chaosgpu.agent.facts.services import services
from chaosgpu.agent.facts.tree import Tree
from chaosgpu.agent.values import JsonObject, JsonValue
from chaosgpu.cuda import probes
from chaosgpu.errors import ReadingUnknown
from support.host_tree import compiled_library, write

_LOADS = """
import ctypes, sys
for path in sys.argv[1:]:
    ctypes.CDLL(path)
print("loaded", flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True)
class Service:
    """A process that has loaded two libraries of one family, and where they lie."""

    pid: int
    toolkit: Path
    wheel: Path

    @property
    def name(self) -> str:
        return f"pid:{self.pid}"


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Compile two libcusparse: one as a toolkit has it, one as a wheel brings it."""
    folder = tmp_path_factory.mktemp("libraries")
    toolkit = compiled_library(folder / "cuda/lib64/libcusparse.so.12.5.4.2", "libcusparse.so.12")
    wheel = compiled_library(folder / "site-packages/nvidia/cusparse/lib/libcusparse.so.12", "libcusparse.so.12")
    write(folder, {"site-packages/nvidia_cusparse_cu12-12.5.10.65.dist-info/METADATA": "Name: x\n"})
    return toolkit, wheel


def _running(*paths: Path) -> "subprocess.Popen[bytes]":
    process = subprocess.Popen(
        [sys.executable, "-c", _LOADS, *map(str, paths)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"loaded\n"
    return process


def _ended(process: "subprocess.Popen[bytes]") -> None:
    process.communicate(timeout=20)


@pytest.fixture
def service(libraries: tuple[Path, Path]) -> Iterator[Service]:
    process = _running(*libraries)
    yield Service(process.pid, *libraries)
    _ended(process)


def test_two_files_of_one_library_in_one_process_are_both_named_with_their_versions(service: Service) -> None:
    found = services(Tree(), [service.name])
    assert found.unknown == {}
    loaded = found.values[service.name]
    assert isinstance(loaded, dict)
    assert loaded["libcusparse"] == [
        {"path": str(service.toolkit), "deleted": False, "version": "12.5.4.2"},
        {"path": str(service.wheel), "deleted": False, "version": "12.5.10.65"},  # from the wheel's metadata
    ]


def test_the_probe_sees_that_a_library_is_loaded_twice(service: Service) -> None:
    assert probes.library_loaded_once(service.name, "libcusparse", timeout_s=30) is False
    with pytest.raises(ReadingUnknown, match="has not loaded libnccl; it has: libcusparse"):
        probes.library_loaded_once(service.name, "libnccl", timeout_s=30)


def test_the_probe_sees_that_a_library_is_loaded_once(libraries: tuple[Path, Path]) -> None:
    process = _running(libraries[0])
    try:
        assert probes.library_loaded_once(f"pid:{process.pid}", "libcusparse", timeout_s=30) is True
    finally:
        _ended(process)


def test_a_file_that_was_replaced_under_a_process_is_seen(tmp_path: Path) -> None:
    path = compiled_library(tmp_path / "libcuda.so.580.95.05", "libcuda.so.1")
    process = _running(path)
    try:
        path.unlink()
        loaded = services(Tree(), [f"pid:{process.pid}"]).values[f"pid:{process.pid}"]
    finally:
        _ended(process)
    assert loaded == {"libcuda": [{"path": str(path), "deleted": True, "version": "580.95.05"}]}


def test_the_processes_of_a_unit_are_those_of_its_control_group(service: Service, tmp_path: Path) -> None:
    maps = Path(f"/proc/{service.pid}/maps").read_text()
    write(
        tmp_path,
        {
            "/proc/10/cgroup": "0::/system.slice/triton.service\n", "/proc/10/maps": "",
            "/proc/11/cgroup": "0::/system.slice/triton.service/worker\n", "/proc/11/maps": maps,
            "/proc/12/cgroup": "0::/system.slice/triton.service.d\n", "/proc/12/maps": maps,
            "/proc/13/cgroup": "9:name=systemd:/system.slice/vllm@a.service\n", "/proc/13/maps": "",
            "/proc/uptime": "1 1\n",
        },
    )  # fmt: skip
    found = services(Tree(str(tmp_path)), ["triton.service", "vllm@a.service", "gone.service"])
    triton = _of_family(found.values["triton.service"])
    assert [one["version"] for one in triton] == ["12.5.4.2", "12"]  # of the second there is no wheel to ask
    assert found.values["vllm@a.service"] == {}
    assert "no process runs in gone.service" in str(found.unknown["gone.service"])


def test_a_service_with_a_process_that_cannot_be_looked_into_is_unknown(tmp_path: Path) -> None:
    write(tmp_path, {"/proc/10/cgroup": "0::/system.slice/triton.service\n"})
    (tmp_path / "proc/10/maps").mkdir()
    found = services(Tree(str(tmp_path)), ["triton.service"])
    assert "not every process of triton.service can be looked into" in str(found.unknown["triton.service"])


def test_a_process_that_ends_meanwhile_is_no_reason_to_know_nothing(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "/proc/10/cgroup": "0::/system.slice/triton.service\n",
            "/proc/11/cgroup": "0::/system.slice/triton.service\n",
            "/proc/11/maps": "",
        },
    )
    assert services(Tree(str(tmp_path)), ["triton.service"]).values == {"triton.service": {}}


def test_a_pid_that_is_nobodys_is_unknown() -> None:
    found = services(Tree(), ["pid:4194999"])
    assert found.values == {}
    assert "no process runs in pid:4194999" in str(found.unknown["pid:4194999"])


def test_a_process_with_a_root_of_its_own_is_looked_into_there(libraries: tuple[Path, Path], tmp_path: Path) -> None:
    """As in a container: the same path is another file there."""
    image = tmp_path / "image"
    path = "/opt/venv/lib/python3.12/site-packages/nvidia/cusparse/lib/libcusparse.so.12"
    write(image, {path: libraries[1].read_bytes()})
    proc = tmp_path / "host"
    write(proc, {"/proc/7/cgroup": "0::/x.service\n", "/proc/7/maps": f"0-1 r-xp 0 0:0 1 {path}\n"})
    (proc / "proc/7/root").symlink_to(image)
    (image / "opt/venv/lib/python3.12/site-packages/nvidia_cusparse_cu12-12.5.8.93.dist-info").mkdir()
    [entry] = _of_family(services(Tree(str(proc)), ["x.service"]).values["x.service"])
    assert entry["version"] == "12.5.8.93"


def _of_family(loaded: JsonValue, family: str = "libcusparse") -> list[JsonObject]:
    assert isinstance(loaded, dict)
    files = loaded[family]
    assert isinstance(files, list)
    return [one for one in files if isinstance(one, dict)]
