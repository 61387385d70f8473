# SPDX-License-Identifier: Apache-2.0
"""No experiment of the catalogue is changed without being played: its plays are too long for each run of the tests."""

from dataclasses import replace
from pathlib import Path

from catalogue_kept import ROOT, Kept, Play, plays_of
from chaosgpu.catalogue.entries import read_catalogue

PLAYS = plays_of(read_catalogue(ROOT / "experiments"))
PLAYED = ROOT / "figures/catalogue/played.json"
SAID = "play them with `make catalogue-test` and commit figures/catalogue/played.json"


def _open(kept: Kept) -> list[str]:
    return [play.key for play in PLAYS if kept.lacks(play)]


def test_every_play_was_played_of_its_file_as_it_is_and_ended_as_declared() -> None:
    assert _open(Kept(PLAYED)) == [], SAID


def test_a_changed_file_another_verdict_another_finding_and_a_play_that_is_not_kept_are_each_found(
    tmp_path: Path,
) -> None:
    copy = tmp_path / "played.json"
    copy.write_bytes(PLAYED.read_bytes())
    play: Play = PLAYS[0]
    good = Kept(copy).results[play.key]
    bad = (
        replace(good, sha256="0" * 64),
        replace(good, verdict="inconclusive"),
        replace(good, seen=(replace(good.seen[0], as_declared=False), *good.seen[1:])),
        replace(good, seen=()),
    )
    for one in bad:
        Kept(copy).keep(play, one)
        assert _open(Kept(copy)) == [play.key]
    Kept(copy).keep(play, good)
    assert _open(Kept(copy)) == []
    copy.unlink()
    assert len(_open(Kept(copy))) == len(PLAYS)
