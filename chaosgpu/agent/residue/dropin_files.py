# SPDX-License-Identifier: Apache-2.0
"""The drop-ins that people and tools lay beside units; those of transient units are container runtimes' own."""

from typing import Iterator, Tuple

from chaosgpu.agent.residue.scene import Scene

__all__ = ["RUNTIME", "dropins"]

RUNTIME = ("/run/systemd/system", "/run/systemd/system.control")
_PERSISTENT = ("/etc/systemd/system", "/etc/systemd/system.control")


def dropins(scene: Scene) -> Iterator[Tuple[str, str]]:
    """Yield path and text of each."""
    for folder in (*RUNTIME, *_PERSISTENT):
        for unit in scene.names(folder):
            if unit.endswith(".d"):
                for name in scene.names(f"{folder}/{unit}"):
                    path = f"{folder}/{unit}/{name}"
                    text = scene.text(path) if name.endswith(".conf") else None
                    if text is not None:
                        yield path, text
