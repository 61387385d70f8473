# SPDX-License-Identifier: Apache-2.0
"""A reboot and a pulled plug in every state of a lease, for a setting and a holder; and without the boot unit."""

import time

import pytest

from chaosgpu.agent.units import RECOVER, SWEEP
from vm.guest import GPUS, RELAPSE, SAW
from vm.leases import LEASES, apply, claimed, order, ready, recorded, states, without
from vm.noted import note
from vm.vm import Vm, watts

pytestmark = pytest.mark.timeout(2400)

STATES = ("reserved", "armed", "active", "reverting", "clean", "stuck")
CAP, FILL = "gpu.power.cap", "gpu.memory.fill"
# Where the fault was in force when the host went down, so the host's own boot brings the setting back.
_IN_FORCE = ("armed", "active", "reverting", "stuck")


def _bring(guest: Vm, fault: str, state: str) -> str:
    """Bring one lease into this state, on the state's own GPU, and leave it there."""
    lease, gpu = f"{fault}-{state}", STATES.index(state)
    if state == "reserved":
        guest.stopped_agent("apply", order(guest, lease, fault, gpu=gpu), "undo written")
    elif state == "armed":  # the fault is in, and nobody has written so
        guest.stopped_agent("apply", order(guest, lease, fault, gpu=gpu), "injected" if fault == CAP else "let go")
    else:
        apply(guest, lease, fault, gpu=gpu)
    if state == "reverting":
        guest.stopped_agent("undo", {"lease": lease}, "claims held")
    elif state in ("clean", "stuck"):
        if state == "stuck":
            guest.run(f"cp {LEASES}/{lease}/undo /root/undo-{lease}; printf x >> {LEASES}/{lease}/undo; sync")
        answer = guest.agent("undo", {"lease": lease})
        assert [line["state"] for line in answer.get("leases", ())] == [state], answer
    return lease


def _all_states(guest: Vm) -> dict[str, str]:
    ready(guest)
    wanted = {_bring(guest, fault, state): state for fault in (CAP, FILL) for state in STATES}
    assert states(guest) == _on_disk(wanted)
    again = " ".join(str(STATES.index(state)) for state in _IN_FORCE)
    guest.run(f"echo {again} > {RELAPSE}; sync {RELAPSE}")
    return wanted


def _on_disk(wanted: dict[str, str]) -> dict[str, str]:
    """Return what the records say: in one that is damaged nobody writes, so who is stuck is active in it."""
    return {lease: "active" if state == "stuck" else state for lease, state in wanted.items()}


def _see_put_back(guest: Vm, before: str, wanted: dict[str, str]) -> int:
    """Return how many leases were looked at."""
    assert guest.shell.boot != before
    stuck = {lease for lease, state in wanted.items() if state == "stuck"}
    ended = recorded(guest)
    expected_states = {lease: "stuck" if lease in stuck else "clean" for lease in wanted}
    assert {lease: state["state"] for lease, state in ended.items()} == _on_disk(expected_states)
    assert {state["boot"]["boot_id"] for state in ended.values()} == {before}
    expected = [300 if gpu == STATES.index("stuck") else 700 for gpu in range(GPUS)]
    assert watts(guest.run(f"cat {SAW}")) == expected  # what the GPU service found when it started
    assert guest.power_limits() == expected
    assert guest.run("nvidia-smi --query-compute-apps=pid --format=csv,noheader").split() == []
    assert claimed(guest) == stuck
    assert {line["lease"]: line["state"] for line in guest.agent("list")["leases"]} == dict.fromkeys(stuck, "stuck")
    assert guest.run("systemctl is-failed chaosgpu-recover", check=False).strip() == "failed"
    for lease in stuck:  # the cause is mended: only an explicit undo ends it
        guest.run(f"cp /root/undo-{lease} {LEASES}/{lease}/undo")
        [line] = guest.agent("undo", {"lease": lease})["leases"]
        assert line["state"] == "clean"
    assert guest.power_limits() == [700] * GPUS
    return len(wanted)


def test_after_a_reboot_every_lease_is_clean_or_still_stuck(guest: Vm) -> None:
    before, wanted = guest.shell.boot, _all_states(guest)
    guest.reboot()
    note("leases over a reboot, in six states", _see_put_back(guest, before, wanted))
    note("leases not put back after a reboot", 0)


def test_after_a_pulled_plug_and_with_a_clock_a_day_behind_every_lease_is_clean_or_still_stuck(guest: Vm) -> None:
    before, wanted = guest.shell.boot, _all_states(guest)
    guest.pull_plug()
    guest.power_on(_days_away(-1))
    assert abs(float(guest.run("date +%s")) - time.time()) > 80000
    note("leases over a pulled plug, in six states, with a wrong clock", _see_put_back(guest, before, wanted))
    note("leases not put back after a pulled plug", 0)


def _days_away(days: int) -> str:
    """Return a time as QEMU takes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() + 86400 * days))


def test_without_the_boot_unit_the_fault_is_there_when_the_gpu_service_starts(guest: Vm) -> None:
    """The control: nobody else comes before the GPU service, and nobody ends the lease until somebody sweeps."""
    ready(guest)
    apply(guest, "alone", gpu=2)
    guest.run(f"echo 2 > {RELAPSE}; sync {RELAPSE}")
    with without(guest, RECOVER, SWEEP):
        guest.pull_plug()
        guest.power_on(_days_away(1))
        assert watts(guest.run(f"cat {SAW}"))[2] == 300
        assert states(guest)["alone"] == "active"
        guest.agent("sweep")
        assert states(guest)["alone"] == "clean"
        assert guest.power_limits()[2] == 700
