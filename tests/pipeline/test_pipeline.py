# SPDX-License-Identifier: Apache-2.0
"""The whole lab, played by `chaos run`: `make pipeline-test`. Each experiment has the verdict that it declares."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CATALOGUE = Path(__file__).parents[2] / "experiments"
PROGRAM = [sys.executable, "-c", "import sys; from chaosgpu.cli.main import main; sys.exit(main(sys.argv[1:]))"]


class Played:
    """What a run in a lab of its own left behind."""

    def __init__(self, folder: Path, form: str, experiment: Path, *options: str) -> None:
        lab = ["--pipeline", "--variant", form, "--directory", str(folder / "lab"), *options]
        chaos = [sys.executable, "-m", "chaostoolkit", "--no-version-check", "run", str(experiment)]
        self.said = subprocess.run(
            [*PROGRAM, "lab", "run", *lab, "--", *chaos],
            cwd=folder,
            env=os.environ.copy(),
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        self.run = (folder / ".chaosgpu/runs/latest").resolve()
        self.ledger: list[dict[str, Any]] = [
            json.loads(line) for line in (self.run / "ledger.jsonl").read_text().splitlines()
        ]

    def probe(self, name: str) -> Any:
        """Return what a probe of the method gave last."""
        return [one["output"] for one in self.ledger if one["type"] == "probe" and one["name"] == name][-1]

    @property
    def verdict(self) -> tuple[str, str]:
        last = self.ledger[-1]
        return last["verdict"], last["reason"]


@pytest.mark.timeout(300)
def test_a_retry_storm_is_found_in_the_fragile_form(tmp_path: Path) -> None:
    played = Played(tmp_path, "fragile", CATALOGUE / "level-2/retry-storm-fragile.yaml")
    verdict, reason = played.verdict
    assert verdict == "deviated", (reason, played.said)
    assert played.probe("attempts for each call since the fault") > 1.3
    assert played.probe("what the breaker did")["opened"] == 0
    got = played.probe("what users got while it stood still")
    assert got["answered_max_ms"] > 3000
    assert got["wrong"] == 0


@pytest.mark.timeout(300)
def test_the_hardened_form_stands_a_retry_storm(tmp_path: Path) -> None:
    played = Played(tmp_path, "hardened", CATALOGUE / "level-2/retry-storm-hardened.yaml")
    assert played.verdict[0] == "passed", (played.verdict, played.said)
    assert played.probe("attempts for each call since the fault") < 1.3
    breaker = played.probe("what the breaker did")
    assert breaker["opened"] >= 1
    assert breaker["open_now"] == 0
    got = played.probe("what users got while it stood still")
    assert got["errors"]["rejected"] > 0
    assert got["wrong"] == 0
