# SPDX-License-Identifier: Apache-2.0
"""How the agent starts itself again, for keepers and holders: the same interpreter, the same files."""

import sys
from typing import Tuple

__all__ = ["installed_command"]


def installed_command() -> Tuple[str, ...]:
    """Return the command of an installed package; a zipapp passes its own."""
    return (sys.executable, "-m", "chaosgpu.agent")
