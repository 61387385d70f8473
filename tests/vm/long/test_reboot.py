# SPDX-License-Identifier: Apache-2.0
"""A reboot with a new boot id under two active leases."""

import pytest

from vm.guest import GPUS, RELAPSE, SAW
from vm.leases import apply, claimed, ready, recorded
from vm.vm import Vm, watts

pytestmark = pytest.mark.timeout(900)


def test_after_a_reboot_with_a_new_boot_id_the_boot_unit_undoes_before_the_gpu_service_starts(guest: Vm) -> None:
    ready(guest)
    before = guest.shell.boot
    apply(guest, "cap", gpu=0)
    apply(guest, "fill", "gpu.memory.fill", gpu=1)
    guest.run(f"echo 0 > {RELAPSE}")  # the host's own boot brings the setting back
    after = guest.reboot()
    assert after != before
    ended = recorded(guest)
    assert {lease: state["state"] for lease, state in ended.items()} == {"cap": "clean", "fill": "clean"}
    assert {state["ended_by"] for state in ended.values()} == {"deadline"}
    assert all("started anew" in state["reason"] for state in ended.values())
    assert {state["boot"]["boot_id"] for state in ended.values()} == {before}
    assert watts(guest.run(f"cat {SAW}")) == [700] * GPUS
    assert claimed(guest) == set()
    assert "300" in guest.run("systemctl status --no-pager --lines=50 nvidia-persistenced; true")  # it had come back
