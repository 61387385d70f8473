# SPDX-License-Identifier: Apache-2.0
"""What was struck so far, a file a fault, short enough to be committed: a later session, or another machine, goes on.

The first line is a JSON object: the digest of the files that the fault's run depends on, every call that each process
of each phase makes (`plan.Segment`), and the calls that were drawn to fail. Each other line is one point, double crash
or failing call: name, tries, milliseconds
from the deadline until the host was clean, letters (`h` the kill hit, `a` the lease had been armed by then, `f` the
fault was in force, `s` a sweep was needed, `l` a half-written file lay about), and what was left, where something was.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chaosgpu.selfdrill.plan import DIES, Segment
from chaosgpu.selfdrill.points import Outcome, Point
from chaosgpu.selfdrill.strace import Call

FOLDER = Path("figures") / "safety"
DOUBLE = "double/"


@dataclass(frozen=True)
class Line:
    """What came of one job."""

    name: str
    tries: int
    late_ms: int
    letters: str
    residue: tuple[str, ...] = ()

    @classmethod
    def of(cls, name: str, tries: int, outcome: Outcome) -> "Line":
        """Return an outcome in short."""
        letters = {
            "h": outcome.hit, "a": outcome.armed, "f": outcome.in_force, "s": outcome.swept, "l": bool(outcome.litter),
        }  # fmt: skip
        said = "".join(letter for letter, is_so in letters.items() if is_so)
        return cls(name, tries, round(outcome.late_s * 1000), said, tuple(outcome.residue))

    @property
    def double(self) -> bool:
        """Tell whether it is a double crash."""
        return self.name.startswith(DOUBLE)

    @property
    def fails(self) -> bool:
        """Tell whether a call was made to fail, and nobody killed."""
        return not self.double and self.name.split("/")[2] not in DIES

    @property
    def hit(self) -> bool:
        """Tell whether the kill, or both of them, or the failure hit."""
        return "h" in self.letters

    def to_json(self) -> str:
        """Return it as one line."""
        what: list[object] = [self.name, self.tries, self.late_ms, self.letters]
        return json.dumps([*what, list(self.residue)] if self.residue else what, separators=(",", ":"))


@dataclass
class Store:
    """The file of one fault; one of another digest is begun anew."""

    fault: str
    digest: str
    segments: list[Segment] = field(default_factory=list)
    failing: list[Point] = field(default_factory=list)
    lines: dict[str, Line] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """Where it lies."""
        return FOLDER / f"{self.fault}.jsonl"

    @classmethod
    def read(cls, fault: str, digest: str) -> "Store":
        """Read what counts for this digest; nothing where the file is of another one."""
        made = cls(fault, digest)
        texts = made.path.read_text(encoding="utf-8").splitlines() if made.path.exists() else []
        head = json.loads(texts[0]) if texts else {}
        if head.get("digest") != digest:
            return made
        made.segments = [Segment.from_json(entry) for entry in head["segments"]]
        drawn = head.get("failing", [])
        made.failing = [Point(fault, phase, role, error, Call(*call)) for phase, role, error, call in drawn]
        names = {point.name for segment in made.segments for point in segment.points(fault)}
        names |= {point.name for point in made.failing}
        for text in texts[1:]:
            name, tries, late_ms, letters, *residue = json.loads(text)
            if name in names or name.startswith(DOUBLE):
                made.lines[name] = Line(name, tries, late_ms, letters, tuple(residue[0]) if residue else ())
        return made

    def write(self) -> None:
        """Write it whole."""
        head = {
            "digest": self.digest,
            "segments": [segment.to_json() for segment in self.segments],
            "failing": [(point.phase, point.role, point.dies, point.call.in_short()) for point in self.failing],
        }
        texts = [json.dumps(head, separators=(",", ":")), *(line.to_json() for line in self.lines.values())]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_suffix(".new")
        unfinished.write_text("\n".join(texts) + "\n", encoding="utf-8")
        unfinished.replace(self.path)

    def add(self, lines: Sequence[Line]) -> None:
        """Add what was struck."""
        with self.path.open("a", encoding="utf-8") as file:
            file.writelines(line.to_json() + "\n" for line in lines)
        self.lines |= {line.name: line for line in lines}

    def done(self) -> set[str]:
        """Return what needs no second try."""
        return {name for name, line in self.lines.items() if line.hit}


def all_lines(stores: Iterable[Store]) -> list[Line]:
    """Return what was struck on all faults."""
    return [line for store in stores for line in store.lines.values()]
