# SPDX-License-Identifier: Apache-2.0
"""The machine's copy: an in-toto statement of the type test-result, about the files of the run."""

import hashlib
from collections.abc import Mapping

from chaosgpu.evidence.cases import cases
from chaosgpu.evidence.story import Story
from chaosgpu.fleet.values import JsonObject, JsonValue

__all__ = ["statement"]

_RESULTS = {"passed": "PASSED", "deviated": "FAILED", "unsafe": "FAILED"}


def statement(story: Story, primary: Mapping[str, bytes]) -> JsonObject:
    """Return the statement. What proved nothing is WARNED; only `passed` is PASSED."""
    every = cases(story)
    names: dict[str, list[JsonValue]] = {
        word: [case.name for case in every if case.holds is holds]
        for word, holds in (("passedTests", True), ("warnedTests", None), ("failedTests", False))
    }
    configuration: JsonValue = [
        _subject(name, primary) for name in ("run/experiment.json", "plan/plan.yaml") if name in primary
    ]
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [_subject(name, primary) for name in sorted(primary)],
        "predicateType": "https://in-toto.io/attestation/test-result/v0.1",
        "predicate": {
            "result": _RESULTS.get(story.verdict or "", "WARNED"),
            "configuration": configuration,
            "passedTests": names["passedTests"],
            "warnedTests": names["warnedTests"],
            "failedTests": names["failedTests"],
        },
    }


def _subject(name: str, primary: Mapping[str, bytes]) -> JsonValue:
    return {"name": name, "digest": {"sha256": hashlib.sha256(primary[name]).hexdigest()}}
