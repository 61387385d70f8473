# SPDX-License-Identifier: Apache-2.0
"""The part of the environment that decides which GPUs are meant; systemd, sudo and sshd drop it, so we record it."""

from typing import Dict, Mapping

from chaosgpu.agent.values import JsonMapping

__all__ = ["environment_to_hand_on", "from_record"]

_NAMES = ("LD_LIBRARY_PATH", "PATH", "CUDA_DEVICE_ORDER")
_PREFIX = "CHAOSGPU_"


def environment_to_hand_on(environment: Mapping[str, str]) -> Dict[str, str]:
    """Return what the record keeps and what keeper and holder are started with: this and nothing else."""
    return {
        name: text
        for name, text in environment.items()
        if (name in _NAMES or name.startswith(_PREFIX)) and name != "CHAOSGPU_LEASE"
    }


def from_record(recorded: JsonMapping) -> Dict[str, str]:
    """Return a recorded environment as one to start a process with."""
    return {name: text for name, text in recorded.items() if isinstance(text, str)}
