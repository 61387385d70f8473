# SPDX-License-Identifier: Apache-2.0
"""The catalogue: every experiment is clean for lint and for `chaos validate`, and is the same in JSON and in YAML."""

import json
from pathlib import Path

import pytest
import yaml
from chaoslib.experiment import ensure_experiment_is_valid
from chaoslib.loader import load_experiment

from chaosgpu.lint import lint, read

CATALOGUE = Path(__file__).parents[2] / "experiments"
# What is in `drills` are plans.
FILES = sorted(
    path for path in CATALOGUE.rglob("*") if path.suffix in {".json", ".yaml", ".yml"} and path.parent.name != "drills"
)
# People edit the YAML, which has traps of its own; what a machine reads of both is the same, and JSON is read fast.
EDITED = [path for path in FILES if path.suffix == ".yaml"]
READ = [path for path in FILES if path.suffix == ".json"]


def _ids(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(CATALOGUE)) for path in paths]


def test_the_catalogue_has_experiments_in_both_forms() -> None:
    assert len(EDITED) >= 32
    assert [path.with_suffix(".json") for path in EDITED] == READ
    assert len(FILES) == len(EDITED) + len(READ)


@pytest.mark.parametrize("path", EDITED, ids=_ids(EDITED))
def test_lint_finds_nothing(path: Path) -> None:
    assert lint(read(path)) == []


@pytest.mark.parametrize("path", READ, ids=_ids(READ))
def test_chaos_validate_takes_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in _needed_from_the_environment(path):
        monkeypatch.setenv(key, "0")
    ensure_experiment_is_valid(load_experiment(str(path)))


@pytest.mark.parametrize("path", EDITED, ids=_ids(EDITED))
def test_it_is_the_same_in_json_and_in_yaml(path: Path) -> None:
    assert _data(path) == _data(path.with_suffix(".json"))


def _data(path: Path) -> object:
    text = path.read_text(encoding="utf-8")
    return json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)


def _needed_from_the_environment(path: Path) -> list[str]:
    """Return the environment variables without a default that the experiment reads: configuration, and secrets."""
    data = _data(path)
    assert isinstance(data, dict)
    groups = [data.get("configuration", {}), *data.get("secrets", {}).values()]
    needed = [one for group in groups for one in group.values() if isinstance(one, dict) and one.get("type") == "env"]
    return [str(one["key"]) for one in needed if "default" not in one]
