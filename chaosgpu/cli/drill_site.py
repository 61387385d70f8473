# SPDX-License-Identifier: Apache-2.0
"""What the verbs of `chaosgpu drill` share: the site's settings, its log, and the record of what was refused."""

import argparse
import contextlib
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from chaosgpu.drill.planfile import Written, read
from chaosgpu.drill.record import Record
from chaosgpu.drill.settle import due_now
from chaosgpu.drill.site import Site, read_site
from chaosgpu.errors import BadArgument, ChaosGpuError
from chaosgpu.fleet.ask import operator, use_inventory
from chaosgpu.fleet.inventory import named_inventory
from chaosgpu.lease.ids import Names, stamp

__all__ = ["Desk", "check_sha256", "desk_of", "reach", "recorded", "say"]


@dataclass(frozen=True)
class Desk:
    """The site, its log, and the clock."""

    site: Site
    record: Record
    names: Names


def desk_of(args: argparse.Namespace) -> Desk:
    """Read the site's settings and open its log."""
    site, names = read_site(args.settings), Names()
    return Desk(site, Record(site.evidence_log, names.now), names)


def reach(written: Written) -> None:
    """Use the inventory of a plan, limited to the hosts that it names."""
    hosts = written.plan.hosts
    if hosts.inventory:
        sources = [str(written.beside(one)) for one in hosts.inventory]
        use_inventory(
            named_inventory(
                {
                    "chaosgpu_inventory": sources,
                    "chaosgpu_limit": ",".join(hosts.names),
                    "chaosgpu_blast_radius": len(hosts.names),
                }
            )
        )


@contextlib.contextmanager
def recorded(desk: Desk, path: Path, verb: str, *, scheduled: bool = False) -> Iterator[Written]:
    """Read a plan; what is wrong with it, or is refused inside the block, goes on record before it is told."""
    now = desk.names.now()
    drill, sha256 = _name(path), ""
    try:
        written = read(path)
        drill, sha256 = written.plan.drill, written.sha256
        yield written
    except ChaosGpuError as error:
        more = {"plan_sha256": sha256} if sha256 else {}
        due = due_now(desk.record.read().entries, drill, now) if scheduled else None
        desk.record.skipped(
            drill, due or stamp(now), str(error), how="refused", verb=verb, by=operator(), plan=path.name, **more
        )
        raise


def _name(path: Path) -> str:
    """Name a plan that cannot be read after its file."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", path.name.partition(".")[0]).lstrip("._-")[:48] or "unnamed"


def say(line: str = "") -> None:
    """Print a line."""
    sys.stdout.write(f"{line}\n")


def check_sha256(written: Written, wanted: str | None) -> None:
    """Refuse another plan than the one that was meant."""
    if wanted is not None and wanted != written.sha256:
        raise BadArgument(f"{written.path.name} has the digest {written.sha256}, and {wanted} was meant.")
