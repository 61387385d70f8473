# SPDX-License-Identifier: Apache-2.0
"""The parts of the lab that need no Triton: interpreter, sizes, schedule, repository, plan, pool."""

import importlib.util
import itertools
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from chaosgpu.cli import main as cli
from chaosgpu.errors import LabFailed
from chaosgpu.lab import install, traffic
from chaosgpu.lab.gpus import LabGpu
from chaosgpu.lab.plan import LabPlan, Running, alive, free_ports, me, process_start
from chaosgpu.lab.repository import write_repository
from chaosgpu.lab.variants import CANARY_ROWS, CANARY_TOKENS, LONG_TOKENS, VARIANTS, kv_bytes_per_token, variant

_MODEL = Path(install.__file__).parent / "models" / "chat" / "1"
_GPU = LabGpu("GPU-5c0ffee0-0000-0000-0000-000000000000", "H100", 80 << 30)


def test_without_a_fitting_python_one_sentence_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install, "_candidates", lambda: [Path(sys.executable), tmp_path / "none"])
    with pytest.raises(LabFailed, match=r"apt-get install python3\.11-venv libpython3\.11"):
        install.find_interpreter()


def test_requirements_are_pinned_with_hashes() -> None:
    lines = Path(install.__file__).with_name("requirements-triton.txt").read_text().replace("\\\n", " ").splitlines()
    pinned = [line for line in lines if line and not line.startswith("#")]
    assert len(pinned) == 2
    assert all(re.match(r"^[a-z-]+==[0-9.]+ +--hash=sha256:[0-9a-f]{64}", line) for line in pinned)


def test_the_canary_takes_four_thousandths_of_a_gpu_and_a_long_context_three_percent() -> None:
    for memory in (16 << 30, 80 << 30, 141 << 30):
        token = kv_bytes_per_token(memory)
        assert token * CANARY_ROWS * CANARY_TOKENS / memory == pytest.approx(0.004, rel=1e-3)
        assert token * LONG_TOKENS / memory == pytest.approx(0.03, rel=1e-3)


def test_an_unknown_variant_is_refused() -> None:
    with pytest.raises(LabFailed, match="no variant 'sturdy'"):
        variant("sturdy")


def test_only_the_hardened_service_bounds_its_queue_and_its_waiting(tmp_path: Path) -> None:
    for name, chosen in VARIANTS.items():
        write_repository(tmp_path / name, chosen, _GPU, "libcuda.so.1")
    fragile = (tmp_path / "fragile" / "chat" / "config.pbtxt").read_text()
    hardened = (tmp_path / "hardened" / "chat" / "config.pbtxt").read_text()
    assert "max_queue_size" not in fragile
    assert 'key: "max_wait_s" value: { string_value: "-1" }' in fragile
    assert "max_queue_size: 16" in hardened
    assert 'key: "max_wait_s" value: { string_value: "0.2" }' in hardened
    assert not list(tmp_path.rglob("__pycache__"))


def test_the_schedule_follows_the_clock_and_holds_its_rates() -> None:
    requests = list(itertools.takewhile(lambda one: one.at < 1100.0, traffic.schedule(100.0, seed=1)))
    assert [one.at for one in requests] == sorted(one.at for one in requests)
    long = [one for one in requests if one.inputs[0].shape == (1, LONG_TOKENS)]
    assert len(long) / 1000 == pytest.approx(2.5, rel=0.1)
    assert (len(requests) - len(long)) / 1000 == pytest.approx(6.0, rel=0.1)
    again = list(itertools.takewhile(lambda one: one.at < 1100.0, traffic.schedule(100.0, seed=1)))
    assert requests == again


def test_a_second_of_traffic_is_one_line_and_begins_anew(tmp_path: Path) -> None:
    series = traffic.Series(tmp_path / "traffic.jsonl")
    series.count("sent")
    series.count("ok", 0.025)
    series.write(0)
    series.write(1)
    assert (tmp_path / "traffic.jsonl").read_text().splitlines() == [
        (
            '{"second": 0, "sent": 1, "ok": 1, "wrong": 0, "rejected": 0, "timed_out": 0, "failed": 0, '
            '"p50_ms": 25.0, "p99_ms": 25.0}'
        ),
        (
            '{"second": 1, "sent": 0, "ok": 0, "wrong": 0, "rejected": 0, "timed_out": 0, "failed": 0, '
            '"p50_ms": null, "p99_ms": null}'
        ),
    ]


def test_a_process_is_known_by_its_start_time_as_well_as_by_its_number() -> None:
    mine = me()
    assert alive(mine)
    assert not alive(Running(mine.pid, mine.start + 1))
    assert process_start(2**22 + 1) is None


def test_three_ports_in_a_row_are_free() -> None:
    assert 1024 < free_ports() < 65534


def test_a_broken_plan_is_said_in_a_sentence(tmp_path: Path) -> None:
    assert LabPlan.read(tmp_path) is None
    (tmp_path / "lab.json").write_text("{}")
    with pytest.raises(LabFailed, match="cannot be read"):
        LabPlan.read(tmp_path)


@pytest.mark.parametrize("minutes", ["0", "-1", "100000"])
def test_a_lifetime_out_of_bounds_is_refused(minutes: str, tmp_path: Path) -> None:
    assert cli.main(["lab", "up", "--directory", str(tmp_path), "--minutes", minutes]) == 2
    assert list(tmp_path.iterdir()) == []


def _pool_module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("lab_pool", _MODEL / "pool.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_pool_full_of_holes_has_bytes_and_no_room() -> None:
    pool = _pool_module().Pool(64 * 100)
    taken = [pool.allocate(100) for _ in range(64)]
    assert pool.allocate(1) is None
    for number in taken[::2]:
        pool.free(number)
    assert pool.free_bytes() == 3200
    assert pool.largest_free_bytes() == 100
    assert pool.allocate(200) is None
    pool.free(taken[1])
    assert pool.allocate(300) is not None
