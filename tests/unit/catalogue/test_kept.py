# SPDX-License-Identifier: Apache-2.0
"""What was played of the catalogue is kept by the file's digest, and counted as what it is."""

import json
from dataclasses import replace
from pathlib import Path

from catalogue_kept import ROOT, Kept, Play, Result, figures_of, plays_of
from catalogue_plays import group_of
from chaosgpu.catalogue.entries import read_catalogue
from chaosgpu.catalogue.finding import Seen

PLAYS = plays_of(read_catalogue(ROOT / "experiments"))
SEEN = Seen("a step", "wrong", value=3, declared="at least 1", as_declared=True)


def _result(play: Play, *, verdict: str | None = None, sha256: str | None = None) -> Result:
    expected = play.form.declared.expected_verdict
    at = "2026-11-26T12:00:00+00:00"
    ended = verdict or expected
    return Result(at, ended, expected, reason="", took_s=1.0, sha256=sha256 or play.digest, seen=(SEEN,))


def _counted(kept: Kept) -> dict[str, float | str | None]:
    return {figure.name.partition(" (")[0]: figure.value for figure in figures_of(PLAYS, kept)}


def test_every_form_is_to_be_played_on_every_database_that_it_names() -> None:
    keys = [play.key for play in PLAYS]
    assert len(keys) == len(set(keys))
    assert {"gpu-memory-leak-fragile", "gpu-memory-leak-hardened", "vector-collection-dropped-fragile@chroma"} < {*keys}


def test_what_fills_the_disk_of_a_database_is_played_on_one_of_its_own() -> None:
    groups = {play.key: group_of(play) for play in PLAYS if play.database == "pgvector"}
    assert groups["vector-disk-full-fragile@pgvector"] == ("disk", "pgvector")
    assert groups["vector-collection-dropped-fragile@pgvector"] == ("database", "pgvector")


def test_what_was_kept_is_not_played_again_until_its_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "played.json"
    kept, play = Kept(path), PLAYS[0]
    assert kept.lacks(play)
    kept.keep(play, _result(play))
    assert not Kept(path).lacks(play)
    kept.keep(play, _result(play, sha256="of another file"))
    assert Kept(path).lacks(play)


def test_the_declared_verdict_for_another_reason_does_not_count_nor_does_one_without_a_finding(tmp_path: Path) -> None:
    play = next(one for one in PLAYS if one.key == "retry-storm-fragile")
    kept, good = Kept(tmp_path / "played.json"), _result(play)
    kept.keep(play, good)
    assert not kept.lacks(play)
    otherwise = replace(SEEN, value=0, as_declared=False)
    for bad in (replace(good, seen=(SEEN, otherwise)), replace(good, seen=())):
        assert bad.verdict == play.form.declared.expected_verdict
        kept.keep(play, bad)
        assert Kept(tmp_path / "played.json").lacks(play)
    assert replace(good, seen=(otherwise,)).told.endswith("; 'a step' (wrong) gave 0, declared at least 1")


def test_what_was_seen_and_how_earlier_tries_ended_is_on_disk(tmp_path: Path) -> None:
    path, play = tmp_path / "played.json", PLAYS[0]
    wanted = replace(_result(play), tries=2, before=("inconclusive: the machine was busy",))
    Kept(path).keep(play, wanted)
    assert Kept(path).results[play.key] == wanted
    assert json.loads(path.read_text())[play.key]["seen"][0]["value"] == 3


def test_another_verdict_than_declared_is_counted_and_played_again(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "played.json")
    for play in PLAYS:
        kept.keep(play, _result(play))
    counted = _counted(kept)
    assert counted["plays with the verdict and finding that they declare"] == len(PLAYS)
    assert counted["plays of these files that ended otherwise"] == 0
    kept.keep(PLAYS[0], _result(PLAYS[0], verdict="inconclusive"))
    counted = _counted(kept)
    assert kept.lacks(PLAYS[0])
    assert counted["plays with the verdict and finding that they declare"] == len(PLAYS) - 1
    assert counted["plays of these files that ended otherwise"] == 1
    assert counted["open"] == PLAYS[0].key


def test_what_the_repository_keeps_is_of_experiments_that_there_are_and_the_figures_count_it() -> None:
    kept = Kept(ROOT / "figures/catalogue/played.json")
    assert set(kept.results) <= {play.key for play in PLAYS}
    figures = json.loads((ROOT / "figures/catalogue.json").read_text(encoding="utf-8"))
    assert [one["value"] for one in figures] == [figure.value for figure in figures_of(PLAYS, kept)]
