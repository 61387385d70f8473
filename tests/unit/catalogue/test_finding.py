# SPDX-License-Identifier: Apache-2.0
"""A finding counts where the declared probe broke as declared, and each declared step gave what the file says."""

from typing import Any

import pytest
from pydantic import ValidationError

from catalogue_kept import ROOT
from chaosgpu.catalogue.declared import Declared, Shown
from chaosgpu.catalogue.entries import Form, entry
from chaosgpu.catalogue.finding import seen

STORM = entry(ROOT / "experiments", "retry-storm")
BROKEN = "nobody waits longer than the deadline for any answer"
GOT = "what users got while it stood still"


def _declared(service: str) -> Declared:
    form = STORM.form(service)
    assert isinstance(form, Form)
    return form.declared


def _probe(name: str, output: object, *, met: bool | None = None, exception: list[str] | None = None) -> dict[str, Any]:
    ended = {"status": "failed", "exception": exception} if exception else {"status": "succeeded"}
    return {"activity": {"name": name}, "output": output, "tolerance_met": met, **ended}


def _journal() -> dict[str, Any]:
    """Give the journal of a storm as the fragile form declares it."""
    after = [_probe("users are served", output=True, met=True), _probe(BROKEN, output=False, met=False)]
    method = [
        _probe("it goes on", {}),
        _probe(GOT, {"answered_max_ms": 4210.0, "wrong": 0, "errors": {"rejected": 4}}),
        _probe("attempts for each call since the fault", 1.9),
        _probe("what the breaker did", {"opened": 0.0, "closed": 0.0, "open_now": 0.0}),
    ]
    return {"steady_states": {"before": {}, "after": {"probes": after}}, "run": method}


def _otherwise(service: str, journal: dict[str, Any]) -> list[tuple[str, object]]:
    return [(one.step, one.value) for one in seen(_declared(service), journal) if not one.as_declared]


def test_a_finding_as_declared_is_seen_whole_with_its_values() -> None:
    found = seen(_declared("fragile"), _journal())
    assert [one.as_declared for one in found] == [True] * 5
    assert [one.value for one in found] == [False, 4210.0, 0, 1.9, 0.0]


def test_the_same_verdict_by_another_probe_is_another_finding() -> None:
    journal = _journal()
    journal["steady_states"]["after"]["probes"] = [_probe("users are served", output=False, met=False)]
    assert _otherwise("fragile", journal) == [("users are served", False)]


def test_the_declared_probe_that_could_not_be_asked_is_another_finding() -> None:
    journal, error = _journal(), "chaosgpu.errors.Unreachable: nobody listens"
    journal["steady_states"]["after"]["probes"] = [_probe(BROKEN, None, met=False, exception=["Traceback", error])]
    assert _otherwise("fragile", journal) == [(BROKEN, error)]


@pytest.mark.parametrize(
    ("step", "output", "value"),
    [
        (1, {"answered_max_ms": 3200.0, "wrong": 0}, 3200.0),
        (1, {"answered_max_ms": "4210", "wrong": 0}, "4210"),
        (1, {"answered_max_ms": True, "wrong": 0}, True),
        (1, {"wrong": 0}, "not there"),
        (1, {"answered_max_ms": 4210.0, "wrong": 2}, 2),
        (1, {"answered_max_ms": 4210.0, "wrong": False}, False),
        (2, 1.0, 1.0),
        (2, None, None),
        (3, {"opened": 1.0}, 1.0),
    ],
)
def test_a_step_that_gave_something_else_is_told_with_it(step: int, output: object, value: object) -> None:
    journal = _journal()
    journal["run"][step]["output"] = output
    assert [found for _, found in _otherwise("fragile", journal)] == [value]


def test_a_step_that_was_not_played_and_a_journal_that_is_not_there_are_no_finding() -> None:
    journal = _journal()
    del journal["run"][2]
    assert _otherwise("fragile", journal) == [("attempts for each call since the fault", "not there")]
    assert [one.as_declared for one in seen(_declared("fragile"), {})] == [False] * 5
    assert not any(one.as_declared for one in seen(_declared("hardened"), {}))


def test_a_step_that_was_played_twice_must_give_it_both_times() -> None:
    journal = _journal()
    journal["run"].append(_probe("attempts for each call since the fault", 1.1))
    assert _otherwise("fragile", journal) == [("attempts for each call since the fault", 1.1)]


def test_a_hardened_form_passes_only_where_the_fault_was_felt() -> None:
    journal = _journal()
    journal["run"][2]["output"] = 1.1
    journal["run"][3]["output"] = {"opened": 2.0, "closed": 2.0, "open_now": 0.0}
    assert _otherwise("hardened", journal) == []
    del journal["run"][1]["output"]["errors"]["rejected"]
    assert _otherwise("hardened", journal) == [(GOT, "not there")]


def test_a_part_is_found_in_lists_too_and_a_text_by_what_it_says() -> None:
    journal = {"run": [_probe("how far apart", {"nodes": [{}, {"why": "row 3 differs in 7 values"}]})]}
    says = Shown(step="how far apart", at="nodes.1.why", says="differs in")
    declared = _declared("hardened").model_copy(update={"shows": (says,)})
    assert [one.as_declared for one in seen(declared, journal)] == [True]
    declared = declared.model_copy(update={"shows": (says.model_copy(update={"at": "nodes.2.why"}),)})
    assert [one.value for one in seen(declared, journal)] == ["not there"]


def test_what_would_be_true_of_anything_or_deviates_by_nothing_is_refused() -> None:
    fragile, hardened = (_declared(service).model_dump() for service in ("fragile", "hardened"))
    with pytest.raises(ValidationError, match="anything would be the finding"):
        Declared.model_validate({**hardened, "shows": [{"step": GOT}]})
    with pytest.raises(ValidationError, match="deviates names what breaks"):
        Declared.model_validate({**fragile, "deviates": []})
    with pytest.raises(ValidationError, match="deviates names what breaks"):
        Declared.model_validate({**hardened, "deviates": fragile["deviates"]})
    with pytest.raises(ValidationError, match="shows"):
        Declared.model_validate({**hardened, "shows": []})
