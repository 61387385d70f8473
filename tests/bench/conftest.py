# SPDX-License-Identifier: Apache-2.0
"""Two test hosts for all tests here. Where the machine cannot have any, these tests are left out, but never in CI."""

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.base import base
from bench.hosts import BENCHES, Bench, Host
from bench.machine import why_not
from bench.plan import me
from bench.triton import binds
from chaosgpu.agent.shim.library import Library, provide

_NEED_HOSTS = frozenset({"eight", "fleet", "machine"})
_LEFT_OUT = pytest.StashKey[str]()


def _needs_hosts(item: pytest.Item) -> bool:
    return isinstance(item, pytest.Function) and not _NEED_HOSTS.isdisjoint(item.fixturenames)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    ours = [item for item in items if _needs_hosts(item)]
    reason = why_not() if ours else None
    if reason is None:
        return
    if os.environ.get("CI") == "true":
        raise pytest.UsageError(f"{len(ours)} tests need test hosts, and in CI they may not be left out. {reason}")
    config.hook.pytest_deselected(items=ours)
    config.stash[_LEFT_OUT] = f"{len(ours)} tests on test hosts were left out. {reason}"
    items[:] = [item for item in items if item not in ours]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build what is built once now, where no test's time limit counts."""
    if not session.config.option.collectonly and any(_needs_hosts(item) for item in session.items):
        base(_say)
        binds(_say)


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if _LEFT_OUT in config.stash:
        terminalreporter.write_line(config.stash[_LEFT_OUT], yellow=True)


@pytest.fixture(scope="session")
def machine() -> None:
    """Mark tests that need a machine which can have test hosts."""


@pytest.fixture(scope="session")
def fleet(machine: None) -> Iterator[Bench]:  # noqa: ARG001 (it says that the machine can)
    bench = Bench(BENCHES / f"tests-{me().pid}")
    bench.up(2)
    try:
        yield bench
    finally:
        bench.down()


@pytest.fixture(scope="session")
def eight(machine: None) -> Iterator[tuple[Bench, float]]:  # noqa: ARG001 (it says that the machine can)
    """Give eight hosts, which only a few tests need, and the seconds that they took."""
    bench, start = Bench(BENCHES / f"eight-{me().pid}"), time.monotonic()
    bench.up(8)
    took_s = time.monotonic() - start
    try:
        yield bench, took_s
    finally:
        bench.down()


@pytest.fixture
def host(fleet: Bench) -> Iterator[Host]:
    """Give the first host, on which nothing is open before or after."""
    yield from _lent(fleet.hosts[0])


@pytest.fixture
def other(fleet: Bench) -> Iterator[Host]:
    """Give the second host, likewise."""
    yield from _lent(fleet.hosts[1])


def _lent(one: Host) -> Iterator[Host]:
    yield one
    one.agent("undo", {"all": True})
    # A service that a test killed, or that was too slow to stop, is no finding of the next test.
    one.run(["systemctl", "reset-failed"])
    if not one.agent("list")["leases"]:  # the ids of what has ended are free again for the next test
        one.run(["find", "/var/lib/chaosgpu/leases", "-mindepth", "1", "-delete"])


@pytest.fixture(scope="session")
def shim() -> Iterator[Library]:
    """Give the library that makes CUDA calls fail, as this machine's compiler builds it; the hosts have none."""
    with tempfile.TemporaryDirectory(prefix="chaosgpu-test-") as folder:
        Path(folder).chmod(0o755)
        yield provide(folder, None)
