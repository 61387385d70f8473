# SPDX-License-Identifier: Apache-2.0
"""Every lie of the proxy before a real Chroma; a few of them are in `make test`, too."""

from collections.abc import Callable
from pathlib import Path

import pytest

from chaosgpu.lab.databases import Database
from chaosgpu.vectordb.recording import Plan
from support.audited import audited
from support.lying_database import LIES, Liar, lying_in_front
from support.vectors import Known

PLAN = Plan(seed=7, dimension=4, duration_s=60, writers=2, readers=1, batch=3, rate_per_s=200, most_writes=60)
KINDS = {
    "drop": {"lost", "stale"},
    "undelete": {"resurrected"},
    "forget_updates": {"stale", "lost"},
    "duplicate": {"duplicated"},
    "swap": {"corrupted"},
    "corrupt": {"corrupted"},
    "stale": {"stale"},
    "refuse": {"refused"},
}


@pytest.mark.parametrize("lie", [lie for lie in LIES if lie != "worse"])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_database_that_acknowledges_and_lies_is_found_out(
    lie: str, seed: int, database: Callable[[str], Database], tmp_path: Path
) -> None:
    liar = Liar(lie, seed, share=0.3)
    with lying_in_front(database("chroma").url, liar) as url:
        found = audited(Known("chroma", url, None), PLAN, tmp_path / "h.jsonl")
    assert liar.told > 0
    assert not found.checked.clean
    assert {one.kind for one in found.checked.findings} & KINDS[lie], found.to_json()
