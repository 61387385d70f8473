# SPDX-License-Identifier: Apache-2.0
"""docs/faults.md says what the registry says."""

from pathlib import Path

from chaosgpu.agent.faults import catalogue
from chaosgpu.agent.faults.registry import REGISTRY

PAGE = Path(__file__).parents[3] / "docs" / "faults.md"


def test_the_page_is_up_to_date() -> None:
    said = "run `python -m chaosgpu.agent.faults.catalogue > docs/faults.md`"
    assert PAGE.read_text(encoding="utf-8") == catalogue.page(), said


def test_every_fault_has_a_row_and_a_section() -> None:
    page = catalogue.page()
    for name in REGISTRY:
        assert f"| `{name}` |" in page
        assert f"\n## {name}\n" in page
