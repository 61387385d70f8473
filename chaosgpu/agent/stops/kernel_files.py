# SPDX-License-Identifier: Apache-2.0
"""Small files in which the kernel tells numbers."""

from typing import List

from chaosgpu.agent.stops.contract import Unread

__all__ = ["number_of", "words_of"]


def words_of(path: str) -> List[List[str]]:
    """Return the words of each line that has any; Unread where the file cannot be read."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:  # noqa: PTH123 (pathlib costs 9 ms at start)
            return [line.split() for line in file if line.strip()]
    except OSError as error:
        raise Unread(f"{path} cannot be read: {error.strerror}") from error


def number_of(word: str, path: str) -> float:
    """Return a word as a number of zero or more."""
    try:
        number = float(word)
    except ValueError as error:
        raise Unread(f"{path} tells {word!r} where a number is due") from error
    if not 0 <= number < float("inf"):
        raise Unread(f"{path} tells {word!r} where a number is due")
    return number
