# SPDX-License-Identifier: Apache-2.0
"""The documentation builds, no link in it leads into nowhere, and the reference says what the docstrings say."""

import shutil
import subprocess
import sys
from pathlib import Path

import reference

ROOT = Path(__file__).resolve().parents[3]


def _built(root: Path, out: Path) -> "subprocess.CompletedProcess[str]":
    words = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-c", "docs", "-b", "html", ".", str(out)]
    return subprocess.run(words, cwd=root, capture_output=True, text=True, timeout=100, check=False)


def test_the_documentation_builds_and_every_link_leads_somewhere(tmp_path: Path) -> None:
    done = _built(ROOT, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "burn" in (tmp_path / "docs/reference/gpu.html").read_text(encoding="utf-8")


def test_each_link_into_nowhere_is_named_and_ends_the_build(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    shutil.copy(ROOT / "docs/conf.py", docs)
    (docs / "start.md").write_text("# Start\n\nText.\n")
    index = "# Index\n\n[there](start.md), [a heading](start.md#start)\n\n```{toctree}\nstart\n```\n"
    (docs / "index.md").write_text(index)
    assert _built(tmp_path, tmp_path / "well").returncode == 0
    nowhere = ("no-page.md", "start.md#no-heading", "../chaosgpu/no-file.py", "#not-here")
    (docs / "index.md").write_text(index + "".join(f"\n[nowhere]({link})\n" for link in nowhere))
    broken = _built(tmp_path, tmp_path / "broken")
    assert broken.returncode == 1
    assert [link for link in nowhere if link.rpartition("#")[2].rpartition("/")[2] not in broken.stderr] == []


def test_the_reference_says_what_the_docstrings_say() -> None:
    kept = {page.name: page.read_text(encoding="utf-8") for page in reference.FOLDER.glob("*.md")}
    assert kept == reference.pages(), "run scripts/reference.py"
