# SPDX-License-Identifier: Apache-2.0
"""How much memory is taken, exactly, from a device whose every byte the test knows."""

from hypothesis import given
from hypothesis import strategies as st

from chaosgpu.agent.cuda.memory import GRANULE, LARGEST_BLOCK, Hoard, leak_due

MIB = 1 << 20
PLENTY = 1 << 62


class Device:
    """Memory that is given out up to the total; what is in one piece may be less than what is free."""

    def __init__(self, free: int, largest_piece: int = PLENTY) -> None:
        self.free = free
        self.largest_piece = largest_piece
        self.blocks: list[int] = []

    def memory(self) -> tuple[int, int]:
        return self.free, PLENTY

    def allocate(self, size: int) -> bool:
        if size > min(self.free, self.largest_piece):
            return False
        self.free -= size
        self.blocks.append(size)
        return True


def test_large_blocks_come_first_and_the_last_are_small() -> None:
    device = Device(2500 * MIB)
    Hoard(device, 100 * MIB).take(PLENTY, lambda: False)
    assert device.blocks == [1024 * MIB, 1024 * MIB, 352 * MIB]
    assert device.free == 100 * MIB


def test_a_broken_up_memory_is_taken_in_smaller_pieces() -> None:
    device = Device(1024 * MIB, largest_piece=40 * MIB)
    Hoard(device, 0).take(PLENTY, lambda: False)
    assert device.free < GRANULE
    assert max(device.blocks) <= 40 * MIB


def test_it_stops_when_its_lease_is_over() -> None:
    device = Device(10 * LARGEST_BLOCK)
    Hoard(device, 0).take(PLENTY, lambda: len(device.blocks) >= 2)
    assert len(device.blocks) == 2


@given(st.integers(0, 1 << 37), st.integers(0, 1 << 37), st.integers(1, 1 << 34), st.integers(0, 1 << 37))
def test_it_never_takes_more_than_the_level_or_than_it_may(free: int, goal: int, piece: int, most: int) -> None:
    device = Device(free, piece)
    hoard = Hoard(device, goal)
    taken = hoard.take(most, lambda: False)
    assert taken == hoard.held == sum(device.blocks) == free - device.free
    assert taken <= most
    assert device.free >= min(free, goal)
    if piece >= LARGEST_BLOCK:
        assert taken > min(free - goal, most) - GRANULE


@given(st.floats(1, 1e12), st.floats(0, 1e6), st.integers(0, 1 << 40))
def test_a_leak_never_owes_more_than_its_rate_or_its_ceiling(rate: float, elapsed_s: float, ceiling: int) -> None:
    due = leak_due(rate, elapsed_s, ceiling)
    assert 0 <= due <= ceiling
    assert due <= rate * elapsed_s


def test_a_late_leak_catches_up() -> None:
    device = Device(4096 * MIB)
    hoard = Hoard(device, 0)
    for second in (1, 2, 7):  # it slept through four seconds
        hoard.take(leak_due(100 * MIB, second, PLENTY) - hoard.held, lambda: False)
        assert hoard.held == 100 * MIB * second
