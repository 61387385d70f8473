# SPDX-License-Identifier: Apache-2.0
"""How late the timer comes; the whole measurement is `python -m bench.latency`."""

import pytest

from bench.hosts import Host
from bench.latency import latencies_s


@pytest.mark.parametrize("mode", ["timer", "timer, all cores busy"])
def test_the_timer_alone_puts_the_host_back_within_the_bound(host: Host, mode: str) -> None:
    assert max(latencies_s(host, mode, 4)) <= 5.0
