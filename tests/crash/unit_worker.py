# SPDX-License-Identifier: Apache-2.0
"""Inside a test host: strikes the points that it is told of, and says in JSON lines what came of each.

Standard input is one JSON object: `fault`, `shim_sha256`, and either `trace` (phases to be traced, and perhaps `roles`;
each line is a segment), `fail` (how many calls are to fail; each line is a point), `jobs` with the `known` segments (it
ends at the first point with something left), `opened` (which files of the agent a run opens), or `control` (an order of
`unit_orders.py`).
"""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from chaosgpu.selfdrill import failing, plan
from chaosgpu.selfdrill.host import World
from chaosgpu.selfdrill.plan import Segment
from crash import opened, package_world, unit_world
from crash.jobs import Job, until_hit
from crash.unit_orders import left_at
from crash.unit_victims import victims

FOLDER = Path("/run/strike")


def answers(asked: Any) -> Iterator[dict[str, Any]]:
    """Do what is asked and yield each answer."""
    victim = victims(asked["shim_sha256"])[asked["fault"]]
    build = package_world.build if victim.packages else unit_world.build
    host: World = build(FOLDER, asked["fault"], victim)
    try:
        if "trace" in asked:
            roles = asked.get("roles", ())
            yield from (segment.to_json() for phase in asked["trace"] for segment in _traced(host, phase, roles))
        elif "fail" in asked:
            yield from (asdict(point) for point in failing.planned(host, asked["fail"]))
        elif "opened" in asked:
            yield from ({"opened": sorted(files)} for files in opened.of_run(host, FOLDER).values())
        elif "control" in asked:
            yield from ({"control": found} for found in left_at(asked["control"], asked["fault"], FOLDER))
        else:
            yield from _struck(host, asked)
    finally:
        host.end()


def _traced(host: World, phase: str, roles: Sequence[str]) -> list[Segment]:
    return plan.steady(plan.segments(host, [phase], roles), plan.segments(host, [phase], roles))


def _struck(host: World, asked: Any) -> Iterator[dict[str, Any]]:
    segments = [Segment.from_json(entry) for entry in asked["known"]]
    known = [point for segment in segments for point in segment.points(asked["fault"])]
    for job in map(Job.from_json, asked["jobs"]):
        tries, outcome = until_hit(host, job, known)
        yield {"name": job.name, "tries": tries, "outcome": asdict(outcome)}
        if outcome.residue:
            return


if __name__ == "__main__":
    for answer in answers(json.load(sys.stdin)):
        print(json.dumps(answer), flush=True)  # noqa: T201 (its answer)
