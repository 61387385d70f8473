# SPDX-License-Identifier: Apache-2.0
"""A sample of the crash points on test hosts, of faults on units and packages: killed at a call, the host gets clean.

The whole is `make figures-safety`; docs/crash-points.md says what a point is.
"""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

import pytest

from bench.hosts import BENCHES, Bench
from bench.plan import me
from bench.strike import Striker
from chaosgpu.agent.shim.library import Library
from chaosgpu.selfdrill import plan
from chaosgpu.selfdrill.points import TIMER, Outcome, Point
from crash import depends
from crash.jobs import Job
from crash.unit_orders import THINGS
from crash.unit_victims import bound_s, victims
from crash.world import ON_HOSTS, PACKAGES, module_of

HOSTS = 2
PHASES = ("apply", "undo alone", "boot", TIMER)
ROLES = ("agent", "due-revert")
POINTS = 9
FEWER = dict.fromkeys(PACKAGES, (("apply", "boot"), 4))  # each takes a change of packages there and back

type Struck = list[tuple[Point, Outcome]]


@pytest.fixture(scope="module")
def strikers(machine: None, shim: Library) -> Iterator["SimpleQueue[Striker]"]:  # noqa: ARG001 (it says that the machine can)
    """Give hosts of their own, with the harness on each; whoever takes one puts it back."""
    bench = Bench(BENCHES / f"strike-{me().pid}-{threading.get_native_id()}")
    bench.up(HOSTS)
    free: SimpleQueue[Striker] = SimpleQueue()
    try:
        for host in bench.hosts:
            free.put(Striker.install(host, shim))
        yield free
    finally:
        bench.down()


def _strike(
    strikers: "SimpleQueue[Striker]", fault: str, phases: tuple[str, ...], roles: tuple[str, ...], count: int
) -> Struck:
    """Trace the phases, draw points with a fixed seed, strike them; end at the first with residue."""
    striker = strikers.get()
    try:
        segments = striker.trace(fault, phases, roles)
        found = [point for segment in segments for point in segment.points(fault)]
        chosen = {point.name: point for point in plan.spread(found, count, seed=3)}
        jobs = [Job(name, point) for name, point in chosen.items()]
        return [(chosen[name], outcome) for name, _, outcome in striker.strike(fault, jobs, segments)]
    finally:
        strikers.put(striker)


@pytest.fixture(scope="module")
def struck(strikers: "SimpleQueue[Striker]") -> dict[str, Struck]:
    """Strike the sample of every fault, as many at a time as there are hosts."""
    with ThreadPoolExecutor(HOSTS) as pool:
        found = pool.map(lambda fault: _strike(strikers, fault, _sample(fault)[0], ROLES, _sample(fault)[1]), ON_HOSTS)
        return dict(zip(ON_HOSTS, found, strict=True))


def _sample(fault: str) -> tuple[tuple[str, ...], int]:
    return FEWER.get(fault, (PHASES, POINTS))


def test_each_fault_that_is_struck_on_a_host_has_something_to_break() -> None:
    assert set(victims("")) == set(ON_HOSTS)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("fault", ON_HOSTS)
def test_a_kill_at_any_sampled_call_leaves_nothing_of_a_fault_on_a_host(fault: str, struck: dict[str, Struck]) -> None:
    outcomes, (phases, points) = struck[fault], _sample(fault)
    assert [(point.key, outcome.residue) for point, outcome in outcomes if outcome.residue] == []
    assert len(outcomes) == points
    assert [point.key for point, outcome in outcomes if not outcome.hit] == []
    assert max(outcome.late_s for _, outcome in outcomes) <= bound_s(fault)
    assert {point.phase for point, _ in outcomes} == set(phases)


@pytest.mark.timeout(1800)
def test_many_of_these_kills_came_while_the_fault_was_in_force(struck: dict[str, Struck]) -> None:
    assert sum(outcome.in_force for outcomes in struck.values() for _, outcome in outcomes) >= 10


@pytest.mark.timeout(900)
def test_a_systemctl_that_is_killed_under_an_undo_leaves_no_unit_down_and_no_lease_stuck(
    strikers: "SimpleQueue[Striker]",
) -> None:
    roles = tuple(f"agent.{number}" for number in range(1, 12))
    outcomes = _strike(strikers, "unit.stop", ("undo",), roles, 14)
    assert [(point.key, outcome.residue) for point, outcome in outcomes if outcome.residue] == []
    assert [point.key for point, outcome in outcomes if not outcome.hit] == []
    assert len({point.role for point, _ in outcomes}) >= 6


@pytest.mark.timeout(900)
@pytest.mark.parametrize("like", THINGS)
@pytest.mark.parametrize(("order", "leaves"), [("fault-first", True), ("record-first", False)])
def test_only_the_order_fault_then_record_then_timer_leaves_a_unit_down_or_a_package_changed(
    order: str, leaves: bool, like: str, strikers: "SimpleQueue[Striker]"
) -> None:
    striker = strikers.get()
    found = striker.control(like, order)
    strikers.put(striker)
    assert len(found) >= 7
    assert [call for call, hit, _ in found if not hit] == []
    assert any(left for _, _, left in found) == leaves, found


@pytest.mark.timeout(900)
def test_what_a_change_of_packages_loads_is_what_its_digest_is_of(strikers: "SimpleQueue[Striker]") -> None:
    striker = strikers.get()
    opened = striker.opened("package.unattended")  # it goes the way of package.install
    strikers.put(striker)
    names = ("faults/package_unattended", "faults/package_upgrade", "packages/change", "packages/restore")
    assert {f"{name}.py" for name in names} <= opened
    assert {name for name in opened if name.startswith("packages/")} <= depends.names(module_of("package.unattended"))
