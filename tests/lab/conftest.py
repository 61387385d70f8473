# SPDX-License-Identifier: Apache-2.0
"""One lab a variant for all tests here: real Triton, simulated GPU, traffic."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from chaosgpu.lab.plan import LabPlan
from chaosgpu.lab.prepare import LabOptions
from chaosgpu.lab.up import bring_up, take_down
from chaosgpu.lease.ids import Names
from chaosgpu.lease.ledger import Ledger
from chaosgpu.lease.run import Run, activate, deactivate


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.triton)


def _lab(directory: Path, variant: str, *, traffic: bool = True) -> Iterator[LabPlan]:
    options = LabOptions(directory=directory, variant=variant, lifetime_s=600, traffic=traffic)
    plan = bring_up(options, lambda _line: None)
    try:
        yield plan
    finally:
        take_down(directory)


@pytest.fixture(scope="session")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabPlan]:
    yield from _lab(tmp_path_factory.mktemp("fragile"), "fragile")


@pytest.fixture(scope="session")
def hardened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabPlan]:
    yield from _lab(tmp_path_factory.mktemp("hardened"), "hardened")


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabPlan]:
    yield from _lab(tmp_path_factory.mktemp("quiet"), "fragile", traffic=False)


@pytest.fixture
def guarded_run(tmp_path: Path) -> Iterator[Run]:
    """Make a run as the guard control would have made it."""
    (tmp_path / "series").mkdir()
    run = Run("test-run", tmp_path, Ledger(tmp_path / "ledger.jsonl", "test-run", lambda: datetime.now(UTC)), Names())
    activate(run)
    try:
        yield run
    finally:
        deactivate()
