# SPDX-License-Identifier: Apache-2.0
"""Whole histories on real databases: clean where they are honest, and each lie of a proxy found by its name."""

from collections.abc import Callable
from pathlib import Path

import pytest

from chaosgpu.lab.databases import Database
from chaosgpu.vectordb import probes
from chaosgpu.vectordb.recording import Plan
from support.audited import audited
from support.lying_database import Liar, lying_in_front
from support.vectors import Known

PLAN = Plan(seed=7, dimension=4, duration_s=30, writers=2, readers=1, batch=3, rate_per_s=200, most_writes=25)


def test_an_honest_database_has_a_clean_history(known: Known, tmp_path: Path) -> None:
    found = audited(known, PLAN, tmp_path / "h.jsonl")
    assert found.checked.clean, found.to_json()
    assert found.checked.acknowledged > 5
    assert found.not_found == ()


def test_cut_connections_are_unknown_and_no_alarm(database: Callable[[str], Database], tmp_path: Path) -> None:
    with lying_in_front(database("chroma").url, Liar(None, 1, cut=0.2)) as url:
        found = audited(Known("chroma", url, None), PLAN, tmp_path / "h.jsonl")
    assert found.checked.clean, found.to_json()
    assert found.checked.unknown > 0


@pytest.mark.parametrize(
    ("lie", "kinds"),
    [
        ("drop", {"lost", "stale"}),
        ("duplicate", {"duplicated"}),
        ("corrupt", {"corrupted"}),
    ],
)
def test_a_database_that_acknowledges_and_lies_is_found_out(
    lie: str, kinds: set[str], database: Callable[[str], Database], tmp_path: Path
) -> None:
    liar = Liar(lie, seed=2, share=0.5)
    with lying_in_front(database("chroma").url, liar) as url:
        found = audited(Known("chroma", url, None), PLAN, tmp_path / "h.jsonl")
    assert liar.told > 0
    assert not found.checked.clean
    assert {one.kind for one in found.checked.findings} & kinds, found.to_json()


def test_lower_recall_is_found_by_the_canary_and_by_no_health_check(
    database: Callable[[str], Database], tmp_path: Path
) -> None:
    real, path = database("chroma").url, str(tmp_path / "x.json")
    probes.learn_canary(real, "chroma", path, rows=200, dimension=8)
    with lying_in_front(real, Liar("worse", seed=1, share=0.3)) as url:
        found = probes.canary(url, "chroma", path)
        assert (found["right"], found["health_check"], found["count"]) == (False, True, 200)
        assert probes.recall_is_normal(url, "chroma", path) is False
    assert probes.recall_is_normal(real, "chroma", path) is True
