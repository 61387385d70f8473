# SPDX-License-Identifier: Apache-2.0
"""The page of figures says what the files say, and no target that does not hold is quoted as if it did."""

import json
from pathlib import Path

from page import page

ROOT = Path(__file__).resolve().parents[3]


def test_the_page_is_what_the_files_say() -> None:
    assert (ROOT / "docs" / "figures.md").read_text(encoding="utf-8") == page(ROOT / "figures")


def test_every_figure_of_the_drill_with_a_target_holds() -> None:
    figures = json.loads((ROOT / "figures" / "drill.json").read_text(encoding="utf-8"))
    assert len(figures) > 20
    assert [figure["name"] for figure in figures if figure["holds"] is False] == []


def test_a_figure_that_does_not_hold_shows_as_such(tmp_path: Path) -> None:
    row = {"name": "fill", "value": 3, "unit": "s", "target": "<= 1", "holds": False}
    (tmp_path / "x.json").write_text(json.dumps([row]))
    assert "| fill | 3 | s | <= 1 | **no** |" in page(tmp_path)
