# SPDX-License-Identifier: Apache-2.0
"""The tamper table: each attack is seen by the shell verifier and by `verify`, but the one that cannot be."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

import chaosgpu.evidence
from chaosgpu.cli.main import main
from support.evidence_attacks import Attack, Handed, copy, scene
from support.evidence_table import MORE, THIRTY
from support.evidence_world import SIGNER, lay

SCRIPT = Path(chaosgpu.evidence.__file__).parent / "data" / "verify.sh"


@dataclass(frozen=True)
class Said:
    code: int
    text: str


def by_shell(folders: list[Path], allowed: Path, kept: Path) -> Said:
    arguments = ["-f", str(allowed), "-i", SIGNER, "-c", str(kept), "-a", *map(str, folders)]
    done = subprocess.run(["sh", str(SCRIPT), *arguments], capture_output=True, text=True, timeout=120, check=False)
    return Said(done.returncode, done.stdout + done.stderr)


def by_verify(folders: list[Path], allowed: Path, kept: Path, capsys: pytest.CaptureFixture[str]) -> Said:
    options = ["--allowed-signers", str(allowed), "--identity", SIGNER, "--checkpoint", str(kept), "--complete"]
    code = main(["evidence", "verify", *options, *map(str, folders)])
    return Said(code, capsys.readouterr().out)


def hand_over(handed: Handed, folder: Path) -> tuple[list[Path], Path, Path]:
    kept = folder / "kept"
    kept.write_bytes(handed.kept)
    return [lay(files, folder / name) for name, files in handed.bundles.items()], handed.world.allowed, kept


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Handed:
    return scene(tmp_path_factory.mktemp("scene") / "world")


def test_what_nobody_has_touched_is_verified_by_both(
    played: Handed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = hand_over(played, tmp_path)
    shell = by_shell(*args)
    assert (shell.code, shell.text.splitlines()[-1]) == (0, "VERIFIED"), shell.text
    verify = by_verify(*args, capsys)
    assert (verify.code, verify.text.splitlines()[-1]) == (0, "VERIFIED"), verify.text


@pytest.mark.parametrize("attack", THIRTY, ids=lambda attack: attack.what)
def test_an_attack_is_seen_by_both(
    attack: Attack, played: Handed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    handed = attack.do(copy(played, tmp_path / "world"))
    args = hand_over(handed, tmp_path)
    shell, verify = by_shell(*args), by_verify(*args, capsys)
    assert (shell.code != 0, verify.code != 0) == (attack.caught, attack.caught), shell.text + verify.text
    assert shell.code == verify.code, shell.text + verify.text


@pytest.mark.parametrize("attack", MORE, ids=lambda attack: attack.what)
def test_what_else_was_tried_is_seen(
    attack: Attack, played: Handed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Both verifiers: make figures-evidence.
    args = hand_over(attack.do(copy(played, tmp_path / "world")), tmp_path)
    assert by_verify(*args, capsys).code != 0


def test_the_table_has_thirty_rows_and_one_that_cannot_be_seen() -> None:
    assert len(THIRTY) == 30
    assert [attack.what for attack in THIRTY if not attack.caught] == [
        "a whole drill that is newer than the last checkpoint is taken out"
    ]


def test_the_script_has_at_most_eighty_lines_and_names_no_python() -> None:
    text = SCRIPT.read_text()
    assert len(text.splitlines()) <= 80
    assert "python" not in text


def test_the_script_runs_where_there_is_no_python(played: Handed, tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in [
        "sh",
        "awk",
        "cat",
        "cmp",
        "cp",
        "cut",
        "find",
        "grep",
        "head",
        "mkdir",
        "mktemp",
        "paste",
        "rm",
        "sed",
        "sha256sum",
        "sort",
        "ssh-keygen",
        "tail",
        "tee",
        "tr",
        "wc",
        "xargs",
    ]:
        found = shutil.which(name)
        assert found is not None, name
        (tools / name).symlink_to(found)
    folders, allowed, kept = hand_over(played, tmp_path)
    command = [str(tools / "sh"), str(SCRIPT), "-f", str(allowed), "-i", SIGNER, "-c", str(kept), *map(str, folders)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env={"PATH": str(tools)})
    assert done.returncode == 0, done.stdout + done.stderr
