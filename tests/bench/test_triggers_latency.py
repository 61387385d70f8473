# SPDX-License-Identifier: Apache-2.0
"""How late leases end on a host that suffers; the whole measurement is `python benchmarks/latency.py`."""

import pytest

from bench.conditions import can, prepare
from bench.hosts import Bench, Host
from bench.latency import latencies

_SAMPLE = [
    ("timer", "every core busy"),
    ("keeper", "disks full"),
    ("timer", "disks full"),
    ("both", "memory short"),
    ("both", "network down"),
]


@pytest.mark.parametrize(("triggers", "condition"), [row for row in _SAMPLE if can(row[1])])
def test_what_a_host_suffers_from_keeps_no_lease_in_force(
    fleet: Bench, host: Host, triggers: str, condition: str
) -> None:
    host.reboot()  # what is prepared goes with the next start
    prepare(host)
    try:
        late = latencies(fleet, host, condition, triggers)
    finally:
        host.reboot()
    assert {one.state for one in late} == {"clean"}
    assert max(one.late_s for one in late) <= 5.0
