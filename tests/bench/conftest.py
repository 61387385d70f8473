# SPDX-License-Identifier: Apache-2.0
"""Two test hosts for all tests here. Where the machine cannot have any, these tests are left out, but never in CI."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import packages, rpm_packages
from bench.base import base
from bench.hosts import BENCHES, Bench, Host
from bench.machine import why_not
from bench.packaged import packaged
from bench.packages import APPLY_S
from bench.plan import me
from bench.rpm_site import Site
from bench.triton import binds
from chaosgpu.agent.shim.library import Library, provide
from support.needing import Needing, say


def _build() -> None:
    base(say)
    binds(say)


_NEEDING = Needing("test hosts", frozenset({"eight", "fleet", "machine"}), why_not, _build)
pytest_collection_modifyitems = _NEEDING.leave_out
pytest_collection_finish = _NEEDING.prepare
pytest_terminal_summary = _NEEDING.tell


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


@pytest.fixture(scope="session")
def debs() -> Iterator[Path]:
    folder = packages.repository()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def driver(host: Host, debs: Path) -> Iterator[Host]:
    """Give a host with the old driver, guarded as a site would."""
    packages.remove(host)
    packages.set_up(host, debs)
    yield host
    host.agent("undo", {"all": True}, timeout_s=APPLY_S)
    packages.remove(host)


@pytest.fixture(scope="session")
def rpm_bench(machine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Bench, Path]]:  # noqa: ARG001 (as above)
    """Give a bench of one host without apt, and the folder with the packages that were built on it."""
    layer = packaged("rpm", rpm_packages.PACKAGES, say)
    bench = Bench(BENCHES / f"rpm-{me().pid}")
    bench.up(1, extra=(str(layer),))
    try:
        built = tmp_path_factory.mktemp("rpms") / "built"
        rpm_packages.make_rpm_host(bench.hosts[0])
        rpm_packages.build(bench.hosts[0], built)
        yield bench, built
    finally:
        bench.down()


@pytest.fixture
def site(rpm_bench: tuple[Bench, Path], tmp_path: Path) -> Iterator[Site]:
    """Give that host with its repository, and no driver before and after."""
    found = Site(*rpm_bench, tmp_path)
    yield found
    found.cut_off()
    rpm_packages.clear(found.host)
