# SPDX-License-Identifier: Apache-2.0
"""The figures of drills: a simulated year, kills at every write, plans that are wrong, windows, approvals.

`python benchmarks/drills.py`: writes `figures/drills.json`. Nothing is broken and no host is reached.
"""

import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from drill_kills import kill_drill, kill_settling, wrong_in_log
from drill_week import KINDS, play_week
from drill_windows import compare
from figures import Figure, at_least, exactly, publish

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from chaosgpu.drill.approval import why_not_approved  # noqa: E402 (as below)
from chaosgpu.drill.occurrences import occurrences  # noqa: E402 (as below)
from chaosgpu.drill.planfile import Written  # noqa: E402 (as below)
from chaosgpu.drill.settle import end_dead_drills  # noqa: E402 (as below)
from support.drills import MONDAY, People, World  # noqa: E402 (in the tests' folder)

_WEEKS = 52
_MOST_POINTS = 80


def main() -> int:
    """Measure, write and print."""
    with TemporaryDirectory(prefix="chaosgpu-drills-") as name:
        folder = Path(name)
        (folder / "people").mkdir()
        people = People(folder / "people")
        figures = [*_weeks(folder, people), *_kills(folder, people), *_windows(), *_approvals(folder, people)]
    return publish("drills", figures)


def _world(folder: Path, people: People, name: str) -> World:
    (folder / name).mkdir()
    return World(folder / name, people)


def _weeks(folder: Path, people: People) -> Sequence[Figure]:
    """Play a year of weeks."""
    befell: Counter[str] = Counter()
    unsaid = problems = missing = said_wrongly = 0
    for seed in range(_WEEKS):
        world = _world(folder, people, f"week-{seed}")
        week = play_week(world, seed)
        befell.update(week.what.values())
        log = world.record.read()
        problems, missing = problems + len(log.problems), missing + len(log.missing)
        due = {one.name for one in occurrences(week.plan.timing) if MONDAY < one.at < world.clock()}
        how = {str(one["occurrence"]): "started" for one in log.entries if one.get("occurrence")}
        how |= {str(one["due"]): str(one["how"]) for one in log.entries if one["type"] == "drill-skipped"}
        unsaid += len(due - how.keys())
        wanted = {"ran": "started", "died": "started", "refused": "refused", "missed": "missed"}
        said_wrongly += sum(how.get(name) != wanted[kind] for name, kind in week.what.items())
    return [
        *(Figure(f"simulated weeks: starts that {kind}", befell[kind], "starts", "", None) for kind in KINDS),
        exactly("simulated weeks: starts of which the log says nothing", unsaid, "starts", 0),
        exactly("simulated weeks: starts of which the log says something else", said_wrongly, "starts", 0),
        exactly("simulated weeks: problems that verification finds", problems, "problems", 0),
        exactly("simulated weeks: drills without an end after the next start", missing, "drills", 0),
    ]


def _kills(folder: Path, people: People) -> Sequence[Figure]:
    """Kill a drill at each of its writes, and then what ends it at each of its own."""
    found: Counter[str] = Counter()
    for point in range(1, _MOST_POINTS):
        if not _killed_twice(folder, people, (point, 1), found):
            break
        for second in range(2, _MOST_POINTS):
            before = found["twice"]
            _killed_twice(folder, people, (point, second), found)
            if found["twice"] == before:
                break
    return [
        at_least("kill -9 at each write of a drill", found["struck"], "kills", 12),
        at_least("kill -9 of what ends a dead drill, at each of its writes", found["twice"], "kills", 12),
        exactly("kills after which verification says something else than what is missing", found["wrong"], "kills", 0),
        exactly("kills after which the next start leaves a drill without an end", found["left"], "kills", 0),
    ]


def _killed_twice(folder: Path, people: People, points: tuple[int, int], found: Counter[str]) -> bool:
    """Kill a drill, then what the next start does about it, then let one through; return whether the first struck."""
    world = _world(folder, people, f"kill-{points[0]}-{points[1]}")
    if not kill_drill(world, world.plan("bob@lab"), points[0]):
        return False
    found["struck"] += points[1] == 1
    found["wrong"] += bool(wrong_in_log(world))
    found["twice"] += kill_settling(world, points[1])
    found["wrong"] += bool(wrong_in_log(world))
    end_dead_drills(world.site.path(world.site.drills), world.record, lambda *_: None)
    found["left"] += bool(world.record.read().missing) or bool(wrong_in_log(world))
    return True


def _windows() -> Sequence[Figure]:
    found = compare(2000, seed=7)
    return [
        Figure("windows compared with a clock that is read minute by minute", found.windows, "windows", "", None),
        Figure("windows of these that a clock change makes doubtful, all refused", found.refused, "windows", "", None),
        exactly("windows taken though a minute of them is missing or there twice", found.wrongly_taken, "windows", 0),
        exactly("windows taken at other times than the clock's", found.other_times, "windows", 0),
        Figure(
            "windows refused because the clock changes just as they close", found.refused_in_doubt, "windows", "", None
        ),
    ]


def _approvals(folder: Path, people: People) -> Sequence[Figure]:
    """Change every byte of an approved plan."""
    world = _world(folder, people, "approvals")
    written = world.plan("bob@lab")
    operators = (written.plan.operator,)
    accepted = 0
    begun = time.monotonic()
    for place in range(len(written.raw)):
        raw = bytearray(written.raw)
        raw[place] ^= 1
        changed = Written(written.plan, written.path, bytes(raw))
        accepted += why_not_approved(changed, 1, people.allowed_signers, operators, MONDAY) is None
    each_s = (time.monotonic() - begun) / len(written.raw)
    unchanged = why_not_approved(written, 1, people.allowed_signers, operators, MONDAY)
    return [
        at_least("bytes of an approved plan that were changed, one at a time", len(written.raw), "bytes", 500),
        exactly("changed plans that were taken as approved", accepted, "plans", 0),
        exactly("the unchanged plan is approved", "yes" if unchanged is None else "no", "", "yes"),
        Figure("one check of an approval", round(each_s, 3), "s", "", None),
    ]


if __name__ == "__main__":
    sys.exit(main())
