# SPDX-License-Identifier: Apache-2.0
"""The head of the evidence log as three short lines: to print, to mail, to put into a ticket, and to check against."""

import re
from dataclasses import dataclass

from chaosgpu.errors import BadArgument
from chaosgpu.evidence.log_rules import Log

__all__ = ["ORIGIN", "Checkpoint", "head_of", "read_checkpoint"]

ORIGIN = "chaosgpu-evidence-v1 log"
_FORM = re.compile(rf"{ORIGIN}\n(0|[1-9][0-9]*)\n([0-9a-f]{{64}})\n")


@dataclass(frozen=True)
class Checkpoint:
    """How long a log was, and the digest of its last line then, which commits to all before it."""

    size: int
    head: str

    def write(self) -> bytes:
        """Return the three lines."""
        return f"{ORIGIN}\n{self.size}\n{self.head}\n".encode()

    def broken_by(self, log: Log) -> str | None:
        """Say why this log does not go on from here; None if it does."""
        if self.size > len(log.digests):
            return f"The log has {len(log.digests)} lines, {self.size} at the checkpoint: its end was cut off."
        if self.size and log.digests[self.size - 1] != self.head:
            return f"Line {self.size} of the log is not the one that the checkpoint names: the log was written anew."
        return None


def head_of(log: Log) -> Checkpoint:
    """Return where a log stands."""
    return Checkpoint(len(log.digests), log.head)


def read_checkpoint(source: bytes) -> Checkpoint:
    """Read the three lines, and nothing else."""
    found = _FORM.fullmatch(source.decode(errors="replace"))
    if found is None:
        raise BadArgument(
            f"This is no checkpoint of an evidence log: it has the lines {ORIGIN!r}, a size and a digest, "
            "as `chaosgpu evidence log --checkpoint` prints them."
        )
    return Checkpoint(int(found[1]), found[2])
