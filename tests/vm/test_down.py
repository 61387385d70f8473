# SPDX-License-Identifier: Apache-2.0
"""However a test run ends, no virtual machine of it stays."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bench.plan import ROOT
from bench.waiting import wait_until
from vm.vm import VMS, Vm, sweep

_UP_AND_WAIT = """
import sys, time
from vm.disk import disk
from vm.vm import Vm
machine = Vm(disk(print), "killed")
machine.make()
machine.start()
print(machine.folder, machine.pid(), flush=True)
time.sleep(600)
"""

pytestmark = pytest.mark.timeout(300)


def test_when_the_owner_is_killed_its_virtual_machine_dies_and_the_next_removes_its_disk(guest: Vm) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", _UP_AND_WAIT],
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'tests'}:{ROOT}"},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert child.stdout is not None
    try:
        said = child.stdout.readline().split()
        folder, qemu = Path(said[0]), int(said[1])
        assert b"qemu" in Path(f"/proc/{qemu}/cmdline").read_bytes()
    finally:
        child.send_signal(signal.SIGKILL)
        child.communicate()
    wait_until(lambda: not Path(f"/proc/{qemu}").exists(), 20.0)
    assert folder.parent == VMS
    assert (folder / "disk.img").exists()
    sweep()
    assert not folder.exists()
    assert guest.folder.exists()  # that of a run that lives
