# SPDX-License-Identifier: Apache-2.0
"""What `make mutation` found, for `make figures-safety`: how many mutants of the safety kernel the tests find."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from figures import Figure, at_least, exactly, not_measured
from kernel import ROOT, kernel_digest

__all__ = ["EQUIVALENT", "RESULTS", "Results", "equivalents", "figures"]

RESULTS = ROOT / "figures" / "safety" / "mutation.json"
EQUIVALENT = ROOT / "benchmarks" / "equivalent_mutants.json"
_SHARE = 95.0
_FILE = f"{RESULTS.parent.name}/{RESULTS.name}"


def equivalents() -> dict[str, str]:
    """Return the mutants that change nothing anybody could see, by key, each with the reason, looked at by a person."""
    found: list[dict[str, str]] = json.loads(EQUIVALENT.read_text(encoding="utf-8"))
    return {entry["key"]: entry["why"] for entry in found}


@dataclass
class Results:
    """The result of each mutant of this kernel; those of another are gone."""

    found: dict[str, dict[str, str]] = field(default_factory=dict)
    planned: int = 0

    @classmethod
    def load(cls, path: Path = RESULTS) -> "Results":
        """Read what is there, as far as it is of this kernel."""
        if not path.exists():
            return cls()
        raw = json.loads(path.read_text(encoding="utf-8"))
        return cls(raw["mutants"], raw["planned"]) if raw["kernel"] == kernel_digest() else cls()

    def keep(self, key: str, file: str, what: str, result: str) -> None:
        """Keep one result."""
        self.found[key] = {"file": file, "what": what, "result": result}
        self.save()

    def save(self, path: Path = RESULTS) -> None:
        """Write all results."""
        path.parent.mkdir(parents=True, exist_ok=True)
        raw = {"kernel": kernel_digest(), "planned": self.planned, "mutants": self.found}
        path.with_suffix(".new").write_text(json.dumps(raw, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        path.with_suffix(".new").rename(path)

    def forget_survivors(self) -> None:
        """Let those be played again that no test found."""
        self.found = {key: one for key, one in self.found.items() if one["result"] == "killed"}

    def survivors(self) -> list[tuple[str, str]]:
        """Return those that no test found and that are not known to be the same."""
        same = equivalents()
        alive = [(key, one) for key, one in self.found.items() if one["result"] != "killed" and key not in same]
        return sorted((one["file"], f"{one['what']}  [{key}]") for key, one in alive)


def figures() -> list[Figure]:
    """Return the share that the tests find; equivalent mutants count neither way."""
    results = Results.load()
    name = "mutants of the safety kernel found by its tests"
    done = sum(one["result"] in ("killed", "survived") for one in results.found.values())
    if not done or done < results.planned:
        why = f"{done} of {results.planned or 'all'} were played to the end; `make mutation` goes on"
        return [not_measured(name, "%", f">= {_SHARE:g}", why)]
    same = equivalents()
    judged = {key: one for key, one in results.found.items() if key not in same}
    killed = sum(one["result"] == "killed" for one in judged.values())
    return [
        at_least(name, 100 * killed / len(judged), "%", _SHARE),
        Figure("mutants of the safety kernel", len(results.found), "mutants", "", None),
        Figure("mutants that change nothing, by hand", len(same), "mutants", "", None),
        exactly("mutants held for the same and found all the same", _found_all_the_same(results), "mutants", 0),
    ]


def _found_all_the_same(results: Results) -> int:
    return sum(results.found[key]["result"] == "killed" for key in equivalents() if key in results.found)
