# SPDX-License-Identifier: Apache-2.0
"""What goes on on a healthy host, none of it any reason for a verdict other than `passed`."""

import time
from collections.abc import Sequence

from chaosgpu.sim.instance import Value
from lying.world import World

# The first GPU is the one with the fault.
_OTHERS: tuple[tuple[int, str, Sequence[Value]], ...] = (
    (0, "foreign_used_mib", range(4000)),
    (0, "temperature_celsius", range(30, 80)),
    (1, "power_limit_mw", range(200_000, 700_000, 1000)),
    (1, "compute_mode", (0, 3)),
    (1, "ecc_volatile_uncorrected", ("0,0", "3,0")),
)


def restlessness(world: World) -> None:
    """Draw some of it: others' memory comes and goes, it gets warm, the other GPU is set to something else."""
    chosen = world.draw.sample(_OTHERS, world.draw.randrange(1, len(_OTHERS)))
    pause_s = world.draw.uniform(0.01, 0.2)

    def stir() -> None:
        for gpu, name, values in chosen:
            world.sim.set(gpu, **{name: world.draw.choice(values)})
        time.sleep(pause_s)

    world.beside(stir)
