# SPDX-License-Identifier: Apache-2.0
"""How often a host's clock is read, which reading counts, and how many hosts are read at once."""

import importlib.util
import threading
import time
from itertools import accumulate, pairwise
from pathlib import Path
from types import ModuleType

import pytest

from chaosgpu.fleet.ansible.environment import PLUGINS

_WANTED = {"enough_s": 0.005, "usual_tries": 3, "usable_s": 0.02, "tries": 6, "at_once": 1, "turns_s": 10.0}
_AHEAD_S = 7.0
_SOON_S, _LONG_S = 0.1, 30.0


@pytest.fixture(name="carry", scope="module")
def _carry() -> ModuleType:
    """Load the action as Ansible does, by its path."""
    path = PLUGINS / "action_plugins" / "chaosgpu_carry.py"
    spec = importlib.util.spec_from_file_location("chaosgpu_carry", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("took_s", "readings", "error_s"),
    [
        ([0.3, 0.008, 0.5], 2, 0.004),
        ([0.3, 0.02, 0.03, 0.02], 3, 0.01),
        ([0.3, 0.2, 0.1, 0.04, 0.01], 4, 0.02),
        ([0.3, 0.2, 0.1, 0.2, 0.3, 0.4, 0.001], 6, 0.05),
    ],
    ids=["quick", "of use after three", "of use later", "never of use"],
)
def test_a_clock_is_read_until_it_is_known_well_enough_and_the_quickest_reading_counts(
    carry: ModuleType, tmp_path: Path, took_s: list[float], readings: int, error_s: float
) -> None:
    ends = list(accumulate(took_s, initial=1000.0))
    times = iter([time_s for begun_s, ended_s in pairwise(ends) for time_s in (begun_s, ended_s)])
    clocks = iter([begun_s + took / 2 + _AHEAD_S for begun_s, took in zip(ends, took_s, strict=False)])
    found = carry.compare(lambda: f"{next(clocks):.9f}", _WANTED, tmp_path, lambda: next(times))
    assert len(list(clocks)) == len(took_s) - readings
    assert found["clock"] == {
        "ahead_s": pytest.approx(_AHEAD_S, abs=1e-6),
        "error_s": pytest.approx(error_s, abs=1e-6),
    }


def test_a_host_without_a_clock_is_asked_once_and_what_it_said_is_kept(carry: ModuleType, tmp_path: Path) -> None:
    said = iter(["date: not found", "1.0"])
    assert carry.compare(lambda: next(said), _WANTED, tmp_path) == {"clock": None, "said": "date: not found"}
    assert next(said) == "1.0"


@pytest.mark.parametrize(("at_once", "in_between"), [(1, False), (2, True)], ids=["one at once", "two: the control"])
def test_no_more_hosts_are_read_at_once_than_there_are_places(
    carry: ModuleType, tmp_path: Path, at_once: int, in_between: bool
) -> None:
    read = threading.Event()

    def other() -> None:
        with carry.turn(tmp_path, at_once, time.monotonic() + _LONG_S):
            read.set()

    thread = threading.Thread(target=other)
    with carry.turn(tmp_path, at_once, time.monotonic() + _LONG_S):
        thread.start()
        assert read.wait(_LONG_S if in_between else _SOON_S) is in_between
    assert read.wait(_LONG_S)
    thread.join()


def test_whoever_has_waited_long_enough_reads_without_a_place(carry: ModuleType, tmp_path: Path) -> None:
    begun_s = time.monotonic()
    with carry.turn(tmp_path, 1, begun_s + _LONG_S), carry.turn(tmp_path, 1, begun_s + _SOON_S):
        assert time.monotonic() >= begun_s + _SOON_S
