# SPDX-License-Identifier: Apache-2.0
"""What the virtual machines showed, kept for `make figures-safety`: the last value of each figure counts."""

import json
import os

from bench.plan import ROOT

__all__ = ["NOTED", "note"]

NOTED = ROOT / "figures" / "safety" / "vm.jsonl"


def note(name: str, value: float) -> None:
    """Keep one measured value, where `make vm-test` asks for it."""
    if os.environ.get("CHAOSGPU_NOTE_FIGURES") != "1":
        return
    NOTED.parent.mkdir(parents=True, exist_ok=True)
    with NOTED.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"name": name, "value": round(value, 3)}) + "\n")
