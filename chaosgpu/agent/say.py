# SPDX-License-Identifier: Apache-2.0
"""Words for the log of a keeper, a holder or an undo: one that is full or gone must end none of them."""

import sys

__all__ = ["say"]


def say(text: str) -> None:
    """Write one line to standard error, or nothing where it cannot be written."""
    try:
        sys.stderr.write(f"{text}\n")
    except (OSError, ValueError):
        return
