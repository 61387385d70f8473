# SPDX-License-Identifier: Apache-2.0
"""When a burn counts as in force: the driver answers what the test says, and only sleeping moves the clock."""

from dataclasses import dataclass, field

import pytest

from chaosgpu.agent.errors import Unverified
from chaosgpu.agent.faults.burn import Burn, BurnParams
from chaosgpu.agent.faults.contract import Context, Held
from chaosgpu.agent.values import JsonObject, JsonValue

_HELD = Held(4711, 1, alive=True)
_PRIOR: JsonObject = {"uuid": "GPU-1"}
_PERIOD_US = 166_667


@dataclass
class _Gpu:
    """Its utilisation, reading by reading; the last one stays. It is the clock as well, and samples every sixth."""

    utilizations_percent: list[int]
    slept_s: float = field(default=0.0)
    others_percent: int = 0  # while others alone keep it busy
    tells_processes: bool = True

    def call(self, name: str, *arguments: JsonValue) -> JsonValue:
        if name == "memory_held":
            process: JsonObject = {"pid": _HELD.pid, "used_bytes": 1 << 20}
            return {"total_bytes": 1 << 30, "free_bytes": 1 << 29, "reserved_bytes": 0, "processes": [process]}
        assert name == "load_of"
        if not self.tells_processes:
            return {"total_percent": self._next(), "process_percent": None, "process_seen_us": None}
        since_us = arguments[2]
        newest_us = 1 + int(self.slept_s * 6) * _PERIOD_US
        assert isinstance(since_us, int)
        if self.others_percent or newest_us <= since_us:
            percent = 0 if since_us else None
            return {"total_percent": self.others_percent, "process_percent": percent, "process_seen_us": since_us}
        now = self._next() if since_us else 0
        return {"total_percent": now, "process_percent": now if since_us else None, "process_seen_us": newest_us}

    def _next(self) -> int:
        now = self.utilizations_percent[0]
        if len(self.utilizations_percent) > 1:
            del self.utilizations_percent[0]
        return now

    def boottime_s(self) -> float:
        return self.slept_s

    def sleep(self, seconds: float) -> None:
        self.slept_s += seconds


def _verified(gpu: _Gpu) -> JsonObject:
    return Burn().verify(BurnParams("GPU-1", 22.0), _PRIOR, _HELD, Context(gpu, gpu))  # type: ignore[arg-type]


def test_a_burn_that_had_no_core_for_a_moment_is_in_force_once_it_is_busy_twice() -> None:
    assert _verified(_Gpu([23, 3, 23, 22]))["utilization_percent"] == 22


@pytest.mark.parametrize("readings", [[0], [23, 3] * 40, [3, 23] * 40], ids=["never", "by turns", "by turns, late"])
def test_a_burn_that_is_never_busy_twice_in_a_row_is_not_in_force(readings: list[int]) -> None:
    gpu = _Gpu(readings)
    with pytest.raises(Unverified, match=r"was busy \d+ and then \d+ percent"):
        _verified(gpu)
    assert 10.0 <= gpu.slept_s <= 11.0


def test_load_that_others_make_is_not_ours() -> None:
    gpu = _Gpu([100], others_percent=100)
    with pytest.raises(Unverified, match="100 and then 100 percent and our process 4711 0 and then 0 percent"):
        _verified(gpu)


def test_where_the_driver_tells_no_process_load_that_of_the_gpu_counts_alone() -> None:
    seen = _verified(_Gpu([97], tells_processes=False))
    assert seen == {"holder_pid": 4711, "utilization_percent": 97, "holder_utilization_percent": None}
