# SPDX-License-Identifier: Apache-2.0
"""`make figures-drill`: every figure of the first drill, from one run."""

import sys

import drill_runs
import import_cost
import overhead
from figures import publish


def main() -> int:
    """Measure, write `figures/drill.json`, print the table; 1 if a target does not hold."""
    return publish("drill", [*drill_runs.measure(), *import_cost.measure(), *overhead.measure()])


if __name__ == "__main__":
    sys.exit(main())
