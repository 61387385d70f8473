# SPDX-License-Identifier: Apache-2.0
"""unit.files.damage: a service starts on copies of its files in which some bytes are flipped, as after a bad disk."""

import os
from dataclasses import dataclass

from chaosgpu.agent import values
from chaosgpu.agent.errors import Refused
from chaosgpu.agent.faults.aside import Aside
from chaosgpu.agent.faults.damaged_copy import flips, put, still_flipped
from chaosgpu.agent.faults.known_file import Original
from chaosgpu.agent.faults.unit_files import FilesParams, UnitFiles, parse_files
from chaosgpu.agent.faults.unit_files_vanish import UnitFilesVanish
from chaosgpu.agent.values import JsonMapping

MOST_BYTES = 1_000_000  # flipped in one file
MOST_COPIED = 2 << 30  # the unit is down meanwhile, and the lease is locked
_SPARE = 64 << 20  # what the copies must leave free


@dataclass(frozen=True)
class DamageParams(FilesParams):
    """How many bytes of each file are flipped, at places that follow from the seed."""

    bytes: int
    seed: int


class UnitFilesDamage(UnitFiles[DamageParams]):
    """A damaged index."""

    name = "unit.files.damage"
    summary = "As unit.files.vanish, with a copy in each file's place that has some bytes flipped at seeded places."
    more_keys = frozenset({"bytes", "seed"})
    refuses = (
        f"what unit.files.vanish refuses; an empty file; files of more than {MOST_COPIED >> 30} GiB in all; a file "
        f"system that would not have {_SPARE >> 20} MiB free beside the copies"
    )
    traps = (
        f"{UnitFilesVanish.traps} The original is never written: what is damaged is a copy with its owner, mode, "
        "labels and times. A few bytes may hit nothing that is read, or what the service repairs: `observed` says how "
        "many are still there as they were flipped. No checksum of a disk fails: it is the service's own checks that "
        "are tried."
    )

    def parse(self, raw: JsonMapping) -> DamageParams:
        """Read the values alone."""
        values.only(raw, self.name, self.keys())
        found = parse_files(raw)
        count = values.whole(raw, "bytes", 1, MOST_BYTES)
        seed = values.whole({"seed": raw.get("seed", 1)}, "seed", 0, 1 << 62)
        return DamageParams(found.unit, found.files, found.back_within_s, count, seed)

    def refuse_more(self, params: DamageParams) -> None:
        """Refuse what would take too long to copy, or has no room for it."""
        sizes = {path: os.stat(path).st_size for path in params.files}  # noqa: PTH116 (pathlib costs 9 ms at start)
        if sum(sizes.values()) > MOST_COPIED:
            raise Refused(
                f"The files have {sum(sizes.values()) >> 20} MiB, and at most {MOST_COPIED >> 20} are copied: name "
                "fewer, or use unit.files.vanish, which copies nothing. Nothing was touched."
            )
        for path in params.files:
            if not sizes[path]:
                raise Refused(f"{path} is empty, so it has no byte to flip; nothing was touched.")
            found = os.statvfs(path)
            free = found.f_bavail * found.f_frsize
            if free < sum(sizes.values()) + _SPARE:
                raise Refused(
                    f"{path} is on a file system with {free >> 20} MiB free, and the copies take "
                    f"{sum(sizes.values()) >> 20} of which {_SPARE >> 20} MiB beside them must stay free. Nothing was "
                    "touched."
                )

    def replace(self, params: DamageParams, one: Aside, original: Original, number: int) -> None:
        """Put the damaged copy in its place."""
        put(one, flips(original.size, params.bytes, params.seed, number))

    def seen(self, params: DamageParams, one: Aside, original: Original, number: int) -> str:
        """Say how many of the flipped bytes are in its place."""
        changes = flips(original.size, params.bytes, params.seed, number)
        return f"{still_flipped(one, changes)} of {len(changes)} bytes are as they were flipped"
