# SPDX-License-Identifier: Apache-2.0
"""The file that keeps a unit down: whole or not there, ours or left alone."""

from pathlib import Path

import pytest

from chaosgpu.agent.errors import Refused, StoreFailed
from chaosgpu.agent.service.gate import Gate


def test_it_is_written_whole_and_taken_away_with_its_folder(tmp_path: Path) -> None:
    gate = Gate("triton.service", "d1", str(tmp_path))
    gate.close()
    assert gate.shut
    assert Path(gate.path).read_text().endswith(f"[Unit]\nAssertPathExists=!{gate.path}\n")
    gate.close()
    gate.open()
    gate.open()
    assert list(tmp_path.iterdir()) == []


def test_others_drop_ins_stay(tmp_path: Path) -> None:
    gate = Gate("triton.service", "d1", str(tmp_path))
    gate.close()
    (tmp_path / "triton.service.d" / "site.conf").write_text("[Service]\n")
    gate.open()
    assert [path.name for path in (tmp_path / "triton.service.d").iterdir()] == ["site.conf"]


def test_what_somebody_else_has_written_there_is_neither_overwritten_nor_removed(tmp_path: Path) -> None:
    Gate("triton.service", "other", str(tmp_path)).close()
    gate = Gate("triton.service", "d1", str(tmp_path))
    assert (gate.shut, gate.changed) == (False, True)
    with pytest.raises(Refused, match="is not what this drill would write"):
        gate.close()
    gate.open()
    assert gate.changed


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "triton.service.d").write_text("a file")
    with pytest.raises((StoreFailed, Refused)):
        Gate("triton.service", "d1", str(tmp_path)).close()
