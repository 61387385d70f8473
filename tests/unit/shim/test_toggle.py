# SPDX-License-Identifier: Apache-2.0
"""The toggle: on is on, and everything else lets calls through, its own deadline as well."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from chaosgpu.agent.shim.toggle import Toggle
from unit.shim.conftest import turn_on
from unit.sim.conftest import Peer

_NOW_NS = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
_LATER = f"until_ns {_NOW_NS + 3_600_000_000_000}"
_GOOD = f"chaosgpu-cuda-errors 1 code 999 groups 1 every 1 {_LATER} end\n"
MALFORMED = {
    "empty": "",
    "cut off": _GOOD[:-5],
    "without its last newline": _GOOD[:-1],
    "another version": _GOOD.replace("errors 1", "errors 2"),
    "success as the error": _GOOD.replace("999", "0"),
    "no number": _GOOD.replace("999", "many"),
    "none of the groups": _GOOD.replace("groups 1", "groups 0"),
    "every none": _GOOD.replace("every 1", "every 0"),
    "something after the end": _GOOD + "x",
    "two of them": _GOOD * 2,
    "no deadline": _GOOD.replace(_LATER, "until_ns"),
    "a deadline that is over": _GOOD.replace(_LATER, f"until_ns {_NOW_NS}"),
    "zeros": "\0" * 80,
}


def _allocate(peer: Peer) -> int:
    """Allocate when the shim has looked again."""
    code: int = peer("__import__('time').sleep(0.005) or allocate(1)")
    return code


def test_it_acts_at_once_both_ways_and_counts_every_failed_call(start: Callable[[], Peer], toggle: Toggle) -> None:
    peer, failed = start(), 0
    before_mib = peer("used_mib()")
    for _ in range(5):
        assert _allocate(peer) == 0
        turn_on(toggle)
        assert [_allocate(peer) for _ in range(3)] == [999] * 3
        failed += 3
        assert toggle.failed()["alloc"] == failed
        toggle.turn_off()
    assert _allocate(peer) == 0
    assert peer("used_mib()") - before_mib == 12  # in whole pages; what failed has taken nothing


def test_the_line_that_is_spoilt_below_does_make_calls_fail(start: Callable[[], Peer], toggle: Toggle) -> None:
    Path(toggle.folder, "toggle").write_text(_GOOD)
    assert _allocate(start()) == 999


@pytest.mark.parametrize("how", MALFORMED)
def test_a_malformed_toggle_lets_calls_through(how: str, start: Callable[[], Peer], toggle: Toggle) -> None:
    turn_on(toggle)
    peer = start()
    assert _allocate(peer) == 999
    Path(toggle.folder, "toggle").write_text(MALFORMED[how])
    assert _allocate(peer) == 0


def test_a_toggle_that_is_no_plain_file_lets_calls_through(start: Callable[[], Peer], toggle: Toggle) -> None:
    good = Path(toggle.folder, "good")
    good.write_text(_GOOD)
    path, peer = Path(toggle.folder, "toggle"), start()
    path.symlink_to(good)
    assert _allocate(peer) == 0
    path.unlink()
    path.mkdir()
    assert _allocate(peer) == 0


def test_after_the_deadline_in_it_calls_go_through_though_nobody_turned_it_off(
    start: Callable[[], Peer], toggle: Toggle
) -> None:
    peer = start()
    turn_on(toggle, s=0.5)
    assert _allocate(peer) == 999
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        code = _allocate(peer)
    assert (code, toggle.is_on()) == (0, True)
    assert _allocate(peer) == 0


def test_what_cannot_be_counted_does_not_fail(start: Callable[[], Peer], toggle: Toggle) -> None:
    peer = start()
    turn_on(toggle)
    Path(toggle.folder, "failed").unlink()
    assert _allocate(peer) == 0


def test_each_nth_call_fails(start: Callable[[], Peer], toggle: Toggle) -> None:
    peer = start()
    turn_on(toggle, 2, every=3)
    assert [_allocate(peer) for _ in range(6)] == [0, 0, 2, 0, 0, 2]


def test_an_error_that_spoils_a_context_stays_for_every_call_while_the_toggle_is_on(
    start: Callable[[], Peer], toggle: Toggle
) -> None:
    peer = start()
    turn_on(toggle, 700, ("alloc", "sync"), every=2)
    assert [_allocate(peer) for _ in range(4)] == [0, 700, 700, 700]
    assert peer("cuda.cuCtxSynchronize()") == 700
    toggle.turn_off()
    assert _allocate(peer) == 0
    turn_on(toggle, 700, ("alloc",), every=2)
    assert _allocate(peer) == 0


def test_two_processes_of_a_unit_share_the_toggle_and_the_count(start: Callable[[], Peer], toggle: Toggle) -> None:
    one, two = start(), start()
    turn_on(toggle)
    assert [_allocate(one), _allocate(two), _allocate(one)] == [999] * 3
    assert toggle.failed()["alloc"] == 3


def test_taking_the_folder_away_lets_calls_through_and_leaves_nothing(
    start: Callable[[], Peer], toggle: Toggle
) -> None:
    peer = start()
    turn_on(toggle)
    toggle.remove()
    toggle.remove()
    assert _allocate(peer) == 0
    assert not toggle.is_there()
