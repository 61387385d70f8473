# SPDX-License-Identifier: Apache-2.0
"""The plug is pulled at a random instant of `apply`, twenty times, with a fault that outlives it: a synced file.

Killing QEMU loses what the guest had not yet synced, and keeps what it had: what a pulled plug does.
"""

import os
import random
import time

import pytest

from chaosgpu.agent.units import RECOVER, SWEEP
from vm.guest import ENTRY
from vm.leases import LEASES, ready, recorded, without
from vm.noted import note
from vm.vm import Vm, agent_line

pytestmark = pytest.mark.timeout(3600)

FILE = "/srv/broken-by-us"
COUNT = int(os.environ.get("CHAOSGPU_POWER_LOSSES", "20"))


def _order(lease: str) -> dict[str, object]:
    asked = {"lease": lease, "fault": "test.file.synced", "params": {"path": FILE}, "run": "r"}
    return {**asked, "ttl_s": 300, "max_duration_s": 300}


def _prepared(guest: Vm) -> None:
    """Let sweep and boot unit know the fault, and have the file well."""
    ready(guest)
    guest.run(f"{ENTRY} install-units; systemctl stop chaosgpu-sweep.timer; echo -n well > {FILE}; sync")


def test_without_the_boot_unit_a_synced_fault_outlives_the_pulled_plug(guest: Vm) -> None:
    """The control: what the next test finds well was not lost with the page cache."""
    _prepared(guest)
    with without(guest, RECOVER, SWEEP):
        assert guest.agent("apply", _order("outlives"), entry=True)["state"] == "active"
        guest.pull_plug()
        guest.power_on()
        assert guest.run(f"cat {FILE}") == "broken"
        assert recorded(guest)["outlives"]["state"] == "active"
    guest.agent("sweep", entry=True)
    assert guest.run(f"cat {FILE}") == "well"


def test_wherever_the_plug_is_pulled_during_apply_no_fault_is_in_force_after_the_boot(guest: Vm) -> None:
    _prepared(guest)
    started = time.monotonic()
    assert guest.agent("apply", _order("whole"), entry=True)["state"] == "active"
    whole_s = time.monotonic() - started
    guest.agent("undo", {"lease": "whole"}, entry=True)
    draw = random.Random(20)
    reached: dict[str, int] = {}
    for number in range(COUNT):
        lease = f"loss-{number}"
        guest.shell.tell(agent_line("apply", _order(lease), entry=True))
        time.sleep(draw.uniform(0.2, 1.1) * whole_s)
        guest.pull_plug()
        before = guest.shell.boot
        assert guest.power_on() != before
        state = recorded(guest).get(lease)
        name = "nothing on disk" if state is None else _furthest(state)
        reached[name] = reached.get(name, 0) + 1
        assert guest.run(f"cat {FILE}") == "well", (number, state)
        assert state is None or state["state"] == "clean", (number, state["reason"], state)
        if state is None:  # a folder without a state is no lease, and holds nothing
            assert guest.run(f"ls {LEASES}/{lease}/undo 2>/dev/null; true") == ""
    note("plugs pulled during apply", COUNT)
    note("faults in force after a plug pulled during apply", 0)
    for name in sorted(reached):
        note(f"plugs pulled during apply, reached: {name}", reached[name])
    assert reached.keys() & {"armed", "active"}, reached  # at least one came when the fault was or had been in force


def _furthest(state: dict[str, object]) -> str:
    history = state["history"]
    assert isinstance(history, list)
    names = [str(entry["state"]) for entry in history]
    return next(name for name in ("active", "armed", "reserved") if name in names)
