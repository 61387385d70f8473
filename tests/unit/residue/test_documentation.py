# SPDX-License-Identifier: Apache-2.0
"""The documentation has a row for every kind of residue, in the words of the family that finds it."""

from pathlib import Path

from chaosgpu.agent.residue.finding import families


def test_every_kind_has_its_row() -> None:
    text = (Path(__file__).parents[3] / "docs" / "doctor.md").read_text(encoding="utf-8")
    rows = {line.split("`")[1]: line for line in text.splitlines() if line.startswith("| `")}
    kinds = {kind: words for one in families() for kind, words in one.kinds.items()}
    assert set(rows) == set(kinds)
    assert [kind for kind, words in kinds.items() if words not in rows[kind]] == []
