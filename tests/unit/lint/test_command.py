# SPDX-License-Identifier: Apache-2.0
"""The command `chaosgpu lint`: exit codes, lines, JSON; and that it runs nothing of what a file names."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from chaosgpu.cli.main import main
from unit.lint.writing import as_text, clean


def test_a_clean_file_ends_with_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "clean.json"
    path.write_text(as_text(clean()))
    assert main(["lint", "--trust", "unit", str(path)]) == 0
    assert capsys.readouterr().out == f"{path}: clean\n"


def test_findings_end_with_1_and_name_file_line_and_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text("title: t\ndescription: d\nmethod: []\nrollback: []\n")
    assert main(["lint", str(path)]) == 1
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith(f"{path}:4: error: The experiment has no key 'rollback'")
    assert out[-1] == "1 error, 0 warnings in 1 file"


def test_an_unreadable_file_ends_with_2_and_the_others_are_linted_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text("title: t\nrollback: []\n")
    assert main(["lint", str(tmp_path / "none.yaml"), str(path)]) == 2
    out = capsys.readouterr().out
    assert "No such file" in out
    assert "'rollback'" in out


def test_json_output_carries_the_same_findings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text("title: t\nrollback: []\n")
    assert main(["lint", "--json", str(path)]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["errors"] == 1
    [finding] = answer["files"][0]["findings"]
    assert set(finding) == {"level", "rule", "pointer", "line", "message", "advice"}
    assert (finding["pointer"], finding["line"]) == ("/rollback", 2)


@pytest.mark.parametrize(("trust", "runs"), [([], False), (["--trust", "stranger"], True)])
def test_a_stranger_s_module_is_run_only_if_it_is_trusted(trust: list[str], runs: bool, tmp_path: Path) -> None:
    mark = tmp_path / "was-run"
    package = tmp_path / "stranger"
    package.mkdir()
    (package / "__init__.py").write_text(f"open({str(mark)!r}, 'w').close()\n")
    (package / "actions.py").write_text("def act() -> None: ...\n")
    method = [
        {"name": "a", "type": "action", "provider": {"type": "python", "module": "stranger.actions", "func": "act"}}
    ]
    path = tmp_path / "experiment.json"
    path.write_text(as_text(clean(method=method, rollbacks=[], **{"steady-state-hypothesis": {"title": "t"}})))
    script = "import sys; from chaosgpu.cli.main import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", script, "lint", *trust, str(path)]
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env={"PYTHONPATH": str(tmp_path)}
    )
    assert (ended.returncode, ended.stdout) == (0, f"{path}: clean\n")
    assert mark.exists() is runs


def test_a_module_that_is_not_there_is_found_without_trust(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    method = [{"name": "a", "type": "action", "provider": {"type": "python", "module": "unit.lint.pak", "func": "f"}}]
    path = tmp_path / "experiment.json"
    path.write_text(as_text(clean(method=method)))
    assert main(["lint", str(path)]) == 1
    assert "'unit.lint.pak', which is not there" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["import nothing_of_this_name\n", "def broken(:\n"])
def test_a_trusted_module_that_cannot_be_imported_is_a_finding(content: str, tmp_path: Path) -> None:
    (tmp_path / "halfway.py").write_text(content)
    method = [{"name": "a", "type": "action", "provider": {"type": "python", "module": "halfway", "func": "f"}}]
    path = tmp_path / "experiment.json"
    path.write_text(as_text(clean(method=method, rollbacks=[], **{"steady-state-hypothesis": {"title": "t"}})))
    script = "import sys; from chaosgpu.cli.main import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", script, "lint", "--trust", "halfway", str(path)]
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env={"PYTHONPATH": str(tmp_path)}
    )
    assert ended.returncode == 1, ended.stderr
    assert "'halfway', which cannot be imported" in ended.stdout
