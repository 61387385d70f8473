# SPDX-License-Identifier: Apache-2.0
"""Killed at each step: the same verb again, or the other one, ends where it should. The control must lose."""

from dataclasses import replace

import pytest

from chaosgpu.agent.service.desk import Desk
from chaosgpu.agent.service.record import DRAINED, DRAINING, Record, Taken
from chaosgpu.agent.service.thing import Budget
from support.service_desk import KINDS, ServiceHost

UP = dict.fromkeys(KINDS, "up")
DOWN = dict.fromkeys(KINDS, "down")
DRAIN_STEPS, RETURN_STEPS = 10, 10


def _touch_then_write(host: ServiceHost, desk: Desk) -> None:
    """Drain in the order that most scripts have: stop it, then note that it was stopped."""
    order = host.order("d1")
    record = Record(order.drill, order.reason, order.by, desk.now(), DRAINING, order.wanted, ())
    things = host.things(record, desk)
    for kind, thing in things.items():
        taken = Taken(kind, thing.prior(), "taken")
        thing.take(taken, Budget(desk.clock, 10.0))
        record = desk.save(replace(record, taken=(*record.taken, taken)))
    desk.save(replace(record, state=DRAINED))


def _count(host: ServiceHost) -> tuple[int, int]:
    host.drain()
    drained = len(host.steps)
    host.give_back()
    found = (drained, len(host.steps) - drained)
    host.steps.clear()
    return found


def test_there_are_as_many_steps_as_the_tests_strike(host: ServiceHost) -> None:
    assert _count(host) == (DRAIN_STEPS, RETURN_STEPS)


@pytest.mark.parametrize("at", range(1, DRAIN_STEPS + 1))
def test_a_drain_killed_at_any_step_is_finished_by_the_next_and_returned_as_it_was(host: ServiceHost, at: int) -> None:
    assert host.killed(host.drain, at)
    host.drain()
    assert (host.look(), host.desk().seen()[1]) == (DOWN, "drained")
    assert host.give_back().left_alone == []
    assert host.look() == UP


@pytest.mark.parametrize("at", range(1, DRAIN_STEPS + 1))
def test_a_drain_killed_at_any_step_is_undone_by_a_return(host: ServiceHost, at: int) -> None:
    assert host.killed(host.drain, at)
    assert host.give_back().left_alone == []
    assert (host.look(), host.desk().seen()[1]) == (UP, "in service")


@pytest.mark.parametrize("at", range(1, RETURN_STEPS + 1))
def test_a_return_killed_at_any_step_is_finished_by_the_next(host: ServiceHost, at: int) -> None:
    host.drain()
    host.steps.clear()
    assert host.killed(host.give_back, at)
    assert host.give_back().left_alone == []
    assert (host.look(), host.desk().seen()[1]) == (UP, "in service")


@pytest.mark.parametrize("at", range(1, RETURN_STEPS))
def test_a_return_killed_at_any_step_can_be_drained_again(host: ServiceHost, at: int) -> None:
    host.drain()
    host.steps.clear()
    assert host.killed(host.give_back, at)
    host.drain()
    assert host.look() == DOWN
    host.give_back()
    assert host.look() == UP


@pytest.mark.parametrize("at", range(1, 7))
def test_a_quarantine_killed_at_any_step_is_finished_by_the_next(host: ServiceHost, at: int) -> None:
    host.killed(host.quarantine, at)
    host.quarantine()
    assert (host.agent.home / "service" / "QUARANTINE").exists()
    assert (host.agent.home / "HALT").exists()
    assert (host.agent.home / "motd").exists()
    host.steps.clear()
    host.killed(host.release, at)
    host.release()
    assert not (host.agent.home / "HALT").exists()
    assert host.desk().halted() is None


def test_the_order_touch_then_write_loses_what_it_touched(host: ServiceHost) -> None:
    lost = []
    for at in range(1, 8):
        for kind in KINDS:
            host.path(kind).write_text("up")
        host.killed(lambda: _touch_then_write(host, host.desk()), at)
        host.give_back()
        if host.look() != UP:
            lost.append(at)
    assert lost
