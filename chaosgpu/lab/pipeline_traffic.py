# SPDX-License-Identifier: Apache-2.0
"""Background traffic on the lab's pipeline: the traffic generator itself, from when the answers are known."""

import os
import sys
import time
from pathlib import Path

from chaosgpu.lab.pipeline import RATE_PER_S, TIMEOUT_S
from chaosgpu.lab.plan import LabPlan
from chaosgpu.traffic.generator import run_plan
from chaosgpu.traffic.plan import TrafficPlan

__all__ = ["main"]

_POLL_S = 0.1
# The lab is the neighbour of its own traffic, and what is asked of the pipeline is asked in seconds.
_LATE_MS = 1000.0


def main(directory: str) -> int:
    """Send traffic until ended by a signal; the supervisor bounds its life."""
    plan = LabPlan.read(Path(directory))
    if plan is None:
        return 2
    requests = Path(plan.exported["CHAOSGPU_LAB_REQUESTS"])
    while not requests.exists():
        time.sleep(_POLL_S)
        if os.getppid() == 1:
            return 1
    return run_plan(
        TrafficPlan(
            name="lab",
            url=plan.exported["CHAOSGPU_LAB_GATEWAY_URL"],
            rate_per_s=RATE_PER_S,
            duration_s=plan.lifetime_s,
            timeout_s=TIMEOUT_S,
            arrival="poisson",
            seed=1,
            late_ms=_LATE_MS,
            series=plan.exported["CHAOSGPU_LAB_TRAFFIC"],
            requests=str(requests),
        ),
        tied=False,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
