# SPDX-License-Identifier: Apache-2.0
"""What an experiment of the lying world may name."""

from collections.abc import Callable


class Midway:
    """What is to be done while the fault is in force."""

    deed: Callable[[], None] = staticmethod(lambda: None)


def strike() -> str:
    """Do it."""
    Midway.deed()
    return "done"


def holds() -> bool:
    """Hold: the steady state is not what is tried here."""
    return True
