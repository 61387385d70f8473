# SPDX-License-Identifier: Apache-2.0
"""One experiment of the catalogue in both forms, by the real `chaos run`: `make catalogue-test` plays all of them."""

import json
from pathlib import Path

import pytest

from chaosgpu.catalogue.entries import entry
from chaosgpu.catalogue.folder import catalogue_folder
from chaosgpu.lab.plan import LabPlan
from support.chaos import Chaos


@pytest.mark.parametrize("service", ["fragile", "hardened"])
def test_a_release_with_wrong_weights_ends_as_it_declares(service: str, fragile: LabPlan, tmp_path: Path) -> None:
    # Both on the fragile lab: the forms differ in the release, and a lab more would take longer than the test.
    form = entry(catalogue_folder(), "model-wrong-weights").form(service)
    assert form is not None
    content = json.loads(form.path.with_suffix(".json").read_text(encoding="utf-8"))
    played = Chaos(tmp_path, content, ignore=(), **fragile.exported).finish(90)
    assert played.verdict[0] == form.declared.expected_verdict, played.said
    [seen] = [
        step["output"] for step in played.journal["run"] if step["activity"]["name"].startswith("what the canary")
    ]
    assert (seen["right"], "differs in" in seen["why"]) == (False, True)
    after = Chaos(tmp_path, content | {"method": []}, ignore=(), **fragile.exported).finish(90)
    assert after.verdict[0] == "passed", after.said
