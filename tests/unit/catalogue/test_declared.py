# SPDX-License-Identifier: Apache-2.0
"""Every experiment of the catalogue declares what it models, measures and finds, in both forms, as its page does."""

import json
import shutil
from pathlib import Path

import pytest
from pydantic import ValidationError

from chaosgpu.catalogue.declared import Needs
from chaosgpu.catalogue.entries import FORMS, entry, read_catalogue
from chaosgpu.catalogue.folder import catalogue_folder
from chaosgpu.catalogue.page import page
from chaosgpu.cli.main import main
from chaosgpu.errors import BadArgument

ROOT = Path(__file__).parents[3]
ENTRIES = read_catalogue(ROOT / "experiments")
LEAST = 16


def test_there_are_as_many_as_promised_on_all_levels_and_each_has_both_forms() -> None:
    assert len(ENTRIES) >= LEAST
    assert {one.level for one in ENTRIES} == {1, 2, 3}
    assert [one.name for one in ENTRIES if [form.declared.service for form in one.forms] != list(FORMS)] == []


def test_what_the_two_forms_model_measure_and_need_is_the_same_and_the_verdicts_differ() -> None:
    for one in ENTRIES:
        fragile, hardened = (form.declared for form in one.forms)
        assert (fragile.models, fragile.needs) == (hardened.models, hardened.needs), one.name
        assert fragile.differs != hardened.differs, one.name
        assert (fragile.expected_verdict, hardened.expected_verdict) == ("deviated", "passed"), one.name
        assert hardened.expected_finding.startswith("none"), one.name


def test_a_disk_is_that_of_a_database_and_is_told_with_it() -> None:
    assert str(Needs(databases=("pgvector",), disk=True)) == "a database (pgvector) on a disk of its own"
    with pytest.raises(ValidationError, match="name the databases, too"):
        Needs(disk=True)


def test_a_name_is_used_once_over_all_levels() -> None:
    assert len({one.name for one in ENTRIES}) == len(ENTRIES)


def test_a_hardened_form_of_a_lab_has_the_same_hypothesis_unless_the_measure_itself_differs() -> None:
    # These two differ in what is looked at: which alert; whether the nodes are asked one by one as well.
    measures = {"alert-must-fire", "mixed-cuda-nodes"}
    for one in ENTRIES:
        fragile, hardened = (_hypothesis(form.path) for form in one.forms)
        assert (fragile == hardened) == (one.name not in measures), one.name


def _hypothesis(path: Path) -> list[object]:
    content = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    found: list[object] = content["steady-state-hypothesis"]["probes"]
    return found


def test_what_a_form_declares_to_be_seen_is_in_its_own_steps() -> None:
    for form in (form for one in ENTRIES for form in one.forms):
        content = json.loads(form.path.with_suffix(".json").read_text(encoding="utf-8"))
        method = {step["name"] for step in content["method"]}
        hypothesis = {probe["name"] for probe in content["steady-state-hypothesis"]["probes"]}
        assert {shown.step for shown in form.declared.shows} <= method, form.path.name
        assert {shown.step for shown in form.declared.deviates} <= hypothesis, form.path.name


def test_the_page_is_what_the_files_say() -> None:
    said = "run `python -m chaosgpu.catalogue.page > docs/catalogue.md`"
    assert (ROOT / "docs" / "catalogue.md").read_text(encoding="utf-8") == page(ENTRIES), said


@pytest.mark.parametrize(
    ("was", "becomes", "said"),
    [
        ('"level": 1', '"level": 2', "it declares level 2"),
        ('"service": "fragile"', '"service": "hardened"', "its name must end with -hardened"),
        ('"expected_verdict": "deviated"', '"expected_verdict": "unsafe"', "expected_verdict"),
        ('"name": "chaosgpu"', '"name": "other"', "0 blocks named chaosgpu"),
        ('"models":', '"model":', "models: Field required"),
        ('"tail latency"', '"health"', "steady_state"),
        ('"title":', '"titel":', "is no experiment with title"),
        ("{", "", "is no experiment"),
    ],
)
def test_one_that_does_not_declare_itself_is_refused_with_its_file(
    was: str, becomes: str, said: str, tmp_path: Path
) -> None:
    source = (ROOT / "experiments/level-1/gpu-memory-leak-fragile.json").read_text(encoding="utf-8")
    assert was in source
    target = tmp_path / "level-1" / "gpu-memory-leak-fragile.json"
    target.parent.mkdir()
    target.write_text(source)
    assert len(read_catalogue(tmp_path)) == 1
    target.write_text(source.replace(was, becomes, 1))
    with pytest.raises(BadArgument, match=said) as raised:
        read_catalogue(tmp_path)
    assert "level-1/gpu-memory-leak-fragile" in str(raised.value)


def test_the_command_lists_shows_and_copies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["catalogue"]) == 0
    listed = capsys.readouterr().out
    assert all(one.name in listed for one in ENTRIES)
    assert main(["catalogue", "--json"]) == 0
    assert [one["name"] for one in json.loads(capsys.readouterr().out)] == [one.name for one in ENTRIES]
    assert main(["catalogue", "show", "gpu-memory-leak-fragile.yaml"]) == 0
    assert "expected: deviated: the canary is not answered" in capsys.readouterr().out
    assert main(["catalogue", "copy", "gpu-memory-leak"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "gpu-memory-leak-fragile.yaml",
        "gpu-memory-leak-hardened.yaml",
    ]
    (tmp_path / "gpu-memory-leak-fragile.yaml").write_text("mine")
    assert main(["catalogue", "copy", "gpu-memory-leak"]) == 2
    assert (tmp_path / "gpu-memory-leak-fragile.yaml").read_text() == "mine"
    assert main(["catalogue", "copy", "gpu-memory-leak", "--to", "nowhere"]) == 2
    assert main(["catalogue", "show", "no-such"]) == 2


def test_it_is_found_in_an_installed_package_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert catalogue_folder() == ROOT / "experiments"
    shutil.copytree(ROOT / "experiments/level-1", tmp_path / "experiments/level-1")
    monkeypatch.setattr("chaosgpu.catalogue.folder._PACKAGE", tmp_path)
    assert catalogue_folder() == tmp_path / "experiments"


def test_an_entry_is_named_in_the_sentence_about_an_unknown_one() -> None:
    with pytest.raises(BadArgument, match=r"no experiment 'nothing'; it has: gpu-"):
        entry(ROOT / "experiments", "nothing")
