# SPDX-License-Identifier: Apache-2.0
"""Each case is an experiment with one thing wrong: `chaos validate` takes it, and lint names it."""

import json
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from chaoslib.activity import run_activity
from chaoslib.experiment import ensure_experiment_is_valid
from chaoslib.hypothesis import within_tolerance
from chaoslib.loader import load_experiment

import chaosgpu.lint.rules
from chaosgpu.lint import lint, read
from chaosgpu.lint.functions import TRUSTED
from unit.lint.cases import CASES, Case
from unit.lint.writing import as_text, clean

TRUST = TRUSTED | {"unit"}
TESTS = Path(__file__).parents[2]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.sentence)
def test_validate_takes_it_and_lint_finds_it(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "experiment.json"
    path.write_text(as_text(case.experiment))
    _validate(path)
    found = [one for one in lint(read(path, TRUST)) if (one.rule, one.pointer) == (case.rule, case.pointer)]
    assert len(found) == 1, lint(read(path, TRUST))
    assert case.says in f"{found[0].message} {found[0].advice}"
    assert found[0].line is not None
    assert "hunter2" not in f"{found[0].message} {found[0].advice}"


def test_a_clean_experiment_has_no_finding(tmp_path: Path) -> None:
    path = tmp_path / "experiment.json"
    path.write_text(as_text(clean()))
    _validate(path)
    assert lint(read(path, TRUST)) == []


@pytest.mark.parametrize("case", [CASES[0], CASES[-1]], ids=lambda case: case.sentence)
def test_the_command_chaos_validate_takes_it_too(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "experiment.json"
    path.write_text(as_text(case.experiment))
    chaos = Path(sys.executable).with_name("chaos")
    ended = subprocess.run(
        [chaos, "--no-version-check", "--no-log-file", "validate", path],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PYTHONPATH": str(TESTS), "HOME": str(tmp_path)},
    )
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if case.rule.startswith("tolerance-") and case.rule != "tolerance-ignored"],
    ids=lambda case: case.sentence,
)
def test_what_lint_says_of_a_tolerance_is_what_chaos_toolkit_does(case: Case) -> None:
    experiment = json.loads(as_text(case.experiment))
    [probe] = experiment["steady-state-hypothesis"]["probes"]
    value = run_activity(probe, {}, {})
    if case.rule == "tolerance-fatal":
        with pytest.raises((TypeError, AttributeError, KeyError)):
            within_tolerance(probe["tolerance"], value)
    else:
        assert within_tolerance(probe["tolerance"], value) is (case.rule == "tolerance-always")


def test_no_two_cases_say_the_same() -> None:
    assert len({case.sentence for case in CASES}) == len(CASES)


def _validate(path: Path) -> None:
    """Do what `chaos validate` does, in this process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Chaos Toolkit's own advice, not the point here
        ensure_experiment_is_valid(load_experiment(str(path)))


def test_every_rule_is_explained_and_no_other() -> None:
    rules = Path(chaosgpu.lint.rules.__file__).parent
    written = {
        value
        for path in rules.glob("*.py")
        for value in re.findall(r'"([a-z]+(?:-[a-z]+)+|dry|shell)"', path.read_text(encoding="utf-8"))
    }
    explained = set(re.findall(r"^\| `([a-z-]+)` \|", (TESTS.parent / "docs" / "lint.md").read_text(), re.MULTILINE))
    assert explained <= written
    found = {case.rule for case in CASES} | {
        "no-guard",
        "no-undo",
        "background-fault",
        "unknown-function",
        "stop-condition",
    }
    assert explained == found | {"argument-name", "duplicate-key", "yaml-trap"}  # these have tests of their own
