# SPDX-License-Identifier: Apache-2.0
"""One virtual machine for all tests here. Where the machine cannot have one, they are left out, but never in CI."""

from collections.abc import Iterator

import pytest

from support.needing import Needing, say
from vm.disk import disk
from vm.machine import why_not
from vm.vm import Vm

_NEEDING = Needing("a virtual machine", frozenset({"guest"}), why_not, lambda: disk(say))
pytest_collection_modifyitems = _NEEDING.leave_out
pytest_collection_finish = _NEEDING.prepare
pytest_terminal_summary = _NEEDING.tell


@pytest.fixture(scope="session")
def guest() -> Iterator[Vm]:
    """Give the virtual machine, switched on."""
    machine = Vm(disk(say), "tests")
    machine.make()
    try:
        machine.power_on()
        yield machine
    finally:
        machine.end()
