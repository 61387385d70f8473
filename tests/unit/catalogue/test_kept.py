# SPDX-License-Identifier: Apache-2.0
"""What was played of the catalogue is kept by the file's digest, and counted as what it is."""

import json
from pathlib import Path

from catalogue_kept import ROOT, Kept, Play, Result, figures_of, plays_of
from chaosgpu.catalogue.entries import read_catalogue

PLAYS = plays_of(read_catalogue(ROOT / "experiments"))


def _result(play: Play, *, verdict: str | None = None, sha256: str | None = None) -> Result:
    expected = play.form.declared.expected_verdict
    at = "2026-11-26T12:00:00+00:00"
    return Result(at, verdict or expected, expected, reason="", took_s=1.0, sha256=sha256 or play.digest)


def _counted(kept: Kept) -> dict[str, float | str | None]:
    return {figure.name.partition(" (")[0]: figure.value for figure in figures_of(PLAYS, kept)}


def test_every_form_is_to_be_played_on_every_database_that_it_names() -> None:
    keys = [play.key for play in PLAYS]
    assert len(keys) == len(set(keys))
    assert {"gpu-memory-leak-fragile", "gpu-memory-leak-hardened", "vector-collection-dropped-fragile@chroma"} < {*keys}


def test_what_was_kept_is_not_played_again_until_its_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "played.json"
    kept, play = Kept(path), PLAYS[0]
    assert kept.lacks(play)
    kept.keep(play, _result(play))
    assert not Kept(path).lacks(play)
    kept.keep(play, _result(play, sha256="of another file"))
    assert Kept(path).lacks(play)


def test_another_verdict_than_declared_is_counted_and_played_again(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "played.json")
    for play in PLAYS:
        kept.keep(play, _result(play))
    counted = _counted(kept)
    assert counted["plays with the verdict that they declare"] == len(PLAYS)
    assert counted["plays of these files that ended otherwise"] == 0
    kept.keep(PLAYS[0], _result(PLAYS[0], verdict="inconclusive"))
    counted = _counted(kept)
    assert kept.lacks(PLAYS[0])
    assert counted["plays with the verdict that they declare"] == len(PLAYS) - 1
    assert counted["plays of these files that ended otherwise"] == 1
    assert counted["open"] == PLAYS[0].key


def test_what_the_repository_keeps_is_of_experiments_that_there_are_and_the_figures_count_it() -> None:
    kept = Kept(ROOT / "figures/catalogue/played.json")
    assert set(kept.results) <= {play.key for play in PLAYS}
    figures = json.loads((ROOT / "figures/catalogue.json").read_text(encoding="utf-8"))
    assert [one["value"] for one in figures] == [figure.value for figure in figures_of(PLAYS, kept)]
