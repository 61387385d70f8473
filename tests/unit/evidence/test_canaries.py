# SPDX-License-Identifier: Apache-2.0
"""Sixty canaries through every channel: none is in a run directory that knew them, none in a bundle that was told."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from chaosgpu.cli.main import main
from chaosgpu.errors import EvidenceBroken
from chaosgpu.evidence import register
from chaosgpu.evidence.bundle import build
from chaosgpu.evidence.ledger_text import read_ledger
from chaosgpu.evidence.log import EvidenceLog
from chaosgpu.evidence.scrub import Scrubber
from chaosgpu.fleet.redaction import MASK, forget, know
from support import canaries
from support.evidence_world import Clock


@pytest.fixture(autouse=True)
def _nothing_known() -> Iterator[None]:
    yield
    forget()


def _all_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_that_knows_its_secrets_writes_none(tmp_path: Path) -> None:
    know(canaries.CANARIES)
    assert canaries.write_run(tmp_path / "run", canaries.WHILE_WRITING) == 600
    assert canaries.found(_all_of(tmp_path / "run")) == []


def test_the_finder_finds_every_canary_in_every_spelling(tmp_path: Path) -> None:
    for name, spell in canaries.EVERYWHERE.items():
        for canary in canaries.CANARIES[:5]:
            assert canaries.found({"x": f"said {spell(canary)} end".encode()}), (name, canary)
    canaries.write_run(tmp_path / "run", canaries.EVERYWHERE)
    seen = {sentence.partition(" in ")[0] for sentence in canaries.found(_all_of(tmp_path / "run"))}
    assert seen == set(canaries.CANARIES)


def test_an_export_that_is_told_the_secrets_holds_none(tmp_path: Path) -> None:
    run = tmp_path / "run"
    canaries.write_run(run, canaries.EVERYWHERE)
    canaries.write_past_us(run)
    files = build(run, b"", canaries.CANARIES, None, None)
    assert canaries.found(files) == []
    ledger = read_ledger(files["run/ledger.jsonl"])
    assert ledger.withheld > 250
    assert ledger.problems == ()


@pytest.mark.parametrize("name", canaries.EVERYWHERE)
def test_each_spelling_is_taken_out_of_text_and_the_rest_stays(name: str) -> None:
    scrubber = Scrubber(canaries.CANARIES)
    for canary in canaries.CANARIES[:10]:
        clean = scrubber.text(f"before {canaries.EVERYWHERE[name](canary)} after")
        assert canaries.found({"x": clean.encode()}) == []
        assert MASK in clean
        assert clean.startswith("before ")
        assert clean.endswith(" after")


def test_what_is_no_secret_is_left_as_it_is(tmp_path: Path) -> None:
    scrubber = Scrubber(canaries.CANARIES)
    for text in ("gpu.memory.leak on gpu1", "a" * 64, "4096", "passed", "https://triton:8000/v2", "line\nline\tline"):
        assert scrubber.text(text) == text
    canaries.write_run(tmp_path / "run", {"plain": lambda _: "nothing"})
    files = build(tmp_path / "run", b"", ("not there at all",), None, None)
    assert files["run/journal.json"] == (tmp_path / "run/journal.json").read_bytes()


def test_a_private_key_and_tokens_are_known_by_their_shape() -> None:
    key = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAA\n-----END OPENSSH PRIVATE KEY-----"
    for secret in (key, "AKIAIOSFODNN7EXAMPLE", "ghp_" + "a1" * 18, f"ey{'J' * 20}.ey{'K' * 20}.{'s' * 20}"):
        assert Scrubber().text(f"it said {secret}!") == f"it said {MASK}!"


def test_secrets_of_the_environment_that_the_experiment_names_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    canaries.write_run(run, {"plain": lambda secret: secret})
    secrets = ", ".join(f'"k{number}": {{"type": "env", "key": "CANARY_{number}"}}' for number in range(60))
    (run / "experiment.json").write_text(f'{{"title": "x", "secrets": {{"db": {{{secrets}}}}}}}')
    for number, canary in enumerate(canaries.CANARIES):
        monkeypatch.setenv(f"CANARY_{number}", canary)
    assert main(["evidence", "export", str(run), "--out", str(tmp_path / "out"), "--site", str(tmp_path / "site")]) == 0
    assert canaries.found(_all_of(tmp_path / "out")) == []


def test_a_secret_in_the_log_keeps_everything_where_it_is(tmp_path: Path) -> None:
    log = EvidenceLog(tmp_path / "site", Clock())
    register.planned(log, "leak", "a" * 64, note=f"ask for {canaries.CANARIES[0]}")
    canaries.write_run(tmp_path / "run", {"plain": lambda _: "nothing"})
    with pytest.raises(EvidenceBroken, match=r"log\.jsonl would still hold a known secret"):
        build(tmp_path / "run", log.path.read_bytes(), canaries.CANARIES, None, None)
    know(canaries.CANARIES)
    register.planned(log, "leak", "b" * 64, note=f"ask for {canaries.CANARIES[0]}")
    assert canaries.CANARIES[0].encode() not in log.path.read_bytes().splitlines()[-1]
