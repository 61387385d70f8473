# SPDX-License-Identifier: Apache-2.0
"""The figures of real cards stand side by side, each under its card's name, and give no serial number or UUID."""

import json
import re
from pathlib import Path

from figures import Figure
from real_gpu import keep

ROOT = Path(__file__).resolve().parents[3]
UUID = "GPU-12345678-9abc-4def-8123-456789abcdef"


def _folder(path: Path, card: str) -> Path:
    path.mkdir()
    (path / "host.json").write_text(json.dumps({"facts": {"gpus": [{"name": card}]}}))
    return path


def _kept(folder: Path) -> list[tuple[str, object]]:
    return [(row["name"], row["value"]) for row in json.loads((folder / "gpu.json").read_text())]


def test_a_cards_figures_replace_its_own_and_no_other_cards(tmp_path: Path) -> None:
    first, second = (_folder(tmp_path / name, f"NVIDIA {name}") for name in ("H100", "H200"))
    into = tmp_path / "figures"
    for folder, value in ((first, 1), (second, 2), (first, 3)):
        keep(folder, [Figure("fill", value, "s", "shown", None)], into)
    assert _kept(into) == [("H100: fill", 3), ("H200: fill", 2)]


def test_what_names_one_card_is_left_out(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "run", "NVIDIA H100")
    keep(folder, [Figure("why", f"{UUID} at 00000000:00:06.0 is full", "", "shown", None)], tmp_path)
    assert _kept(tmp_path) == [("H100: why", "GPU-… is full")]


def test_no_file_of_figures_or_recordings_names_one_card() -> None:
    for path in (ROOT / "figures/gpu.json", ROOT / "tests/unit/sim/recorded_h100.jsonl"):
        text = path.read_text(encoding="utf-8")
        assert re.findall(r"GPU-[0-9a-f]{8}|[Ss]erial|Pdi|BoardPartNumber", text) == [], path


def test_every_figure_of_a_real_card_with_a_target_holds() -> None:
    rows = json.loads((ROOT / "figures/gpu.json").read_text(encoding="utf-8"))
    assert {row["name"].partition(": ")[0] for row in rows} == {"H100 80GB HBM3", "H200"}
    assert [row["name"] for row in rows if row["holds"] is False] == []
