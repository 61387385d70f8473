# SPDX-License-Identifier: Apache-2.0
"""The scene that the agent's own host is."""

import os

from chaosgpu.agent.host import Host
from chaosgpu.agent.residue.scene import Scene

__all__ = ["scene_of"]


def scene_of(host: Host) -> Scene:
    """Return what the families look at on this host."""
    return Scene(
        home=host.home,
        clock=host.clock,
        boot=host.boot,
        claims_directory=os.path.dirname(host.claims.path("")),  # noqa: PTH120 (pathlib costs 9 ms at start)
        command=host.command,
        halt_files=host.halt_files,
        new_driver=host.new_driver,
    )
