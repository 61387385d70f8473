# SPDX-License-Identifier: Apache-2.0
"""One virtual machine for all tests here. Where the machine cannot have one, they are left out, but never in CI."""

import os
import sys
from collections.abc import Iterator

import pytest

from vm.disk import disk
from vm.machine import why_not
from vm.vm import Vm

_LEFT_OUT = pytest.StashKey[str]()


def _needs_vm(item: pytest.Item) -> bool:
    return isinstance(item, pytest.Function) and "guest" in item.fixturenames


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    ours = [item for item in items if _needs_vm(item)]
    reason = why_not() if ours else None
    if reason is None:
        return
    if os.environ.get("CI") == "true":
        raise pytest.UsageError(f"{len(ours)} tests need a virtual machine and may not be left out in CI. {reason}")
    config.hook.pytest_deselected(items=ours)
    config.stash[_LEFT_OUT] = f"{len(ours)} tests on a virtual machine were left out. {reason}"
    items[:] = [item for item in items if item not in ours]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Make the disk now, where no test's time limit counts."""
    if not session.config.option.collectonly and any(_needs_vm(item) for item in session.items):
        disk(_say)


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if _LEFT_OUT in config.stash:
        terminalreporter.write_line(config.stash[_LEFT_OUT], yellow=True)


@pytest.fixture(scope="session")
def guest() -> Iterator[Vm]:
    """Give the virtual machine, switched on."""
    machine = Vm(disk(_say), "tests")
    machine.make()
    try:
        machine.power_on()
        yield machine
    finally:
        machine.end()
