# SPDX-License-Identifier: Apache-2.0
"""What needs a kernel and a clock of its own: a line in the kernel log, a stepped clock."""

import json
from typing import Any

import pytest

from vm.leases import late_s, order, ready, when_clean
from vm.noted import note
from vm.vm import Vm, agent_line, watts

pytestmark = pytest.mark.timeout(600)


def _xids(answer: str) -> list[tuple[object, ...]]:
    events = json.loads(answer)["values"]["events"]
    return [(seen["xid"], seen["pid"], seen["process"], seen["text"]) for seen in events]


def test_an_xid_written_to_the_kernel_log_is_read_and_one_before_the_window_is_not(guest: Vm) -> None:
    gpu = guest.run("nvidia-smi -i 0 --query-gpu=uuid --format=csv,noheader").strip()
    bus = guest.run("nvidia-smi -i 0 --query-gpu=pci.bus_id --format=csv,noheader").strip().lower()[4:-2]
    old = f"NVRM: Xid (PCI:{bus}): 79, pid=1234, name=python3, GPU has fallen off the bus."
    new = f"NVRM: Xid (PCI:{bus}): 31, pid='<unknown>', name=<unknown>, Ch 00000008"
    about: dict[str, Any] = {"reading": "gpu.xid", "params": {"gpu": gpu}}
    ask, fresh_only = agent_line("read", about), {**about, "params": {"gpu": gpu, "within_s": 11.5}}
    ask_fresh = agent_line("read", fresh_only)
    script = f'echo "{old}" > /dev/kmsg; sleep 12; echo "{new}" > /dev/kmsg; {ask_fresh}; echo; {ask}'
    within, every = (line for line in guest.run(script).splitlines() if line)
    fresh = (31, None, "unknown", "Ch 00000008")
    assert _xids(within) == [fresh]
    assert _xids(every) == [(79, 1234, "python3", "GPU has fallen off the bus."), fresh]


def test_a_wall_clock_that_is_stepped_ends_no_lease_early_and_none_late(guest: Vm) -> None:
    ready(guest)
    ask = agent_line("apply", order(guest, "stepped", ttl_s=15.0))  # all in one script: no time of ours comes between
    stepped = "{0} > /dev/null; date -s '1 hour' > /dev/null; {1}; date -s '2 hours ago' > /dev/null; {1}"
    look = "sleep 1; nvidia-smi -i 0 --query-gpu=power.limit --format=csv,noheader,nounits"
    assert watts(guest.run(stepped.format(ask, look))) == [300, 300]
    ended = when_clean(guest, "stepped")
    assert guest.power_limits()[0] == 700
    assert ended["ended_by"] == "deadline"
    note("clean after the deadline, wall clock stepped", late_s(ended))
    assert 0.0 <= late_s(ended) <= 5.0
    guest.run("date -s '1 hour'")
