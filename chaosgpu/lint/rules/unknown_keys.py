# SPDX-License-Identifier: Apache-2.0
"""Keys that Chaos Toolkit does not read: misspelt, they take what they hold out of the experiment in silence."""

from collections.abc import Iterator, Mapping

from chaosgpu.lint import keys
from chaosgpu.lint.document import Document
from chaosgpu.lint.experiment import activities, controls, mapping
from chaosgpu.lint.finding import Finding
from chaosgpu.lint.nodes import escape

__all__ = ["check_keys"]

_ADVICE = {
    ("the experiment", "dry"): "Remove it and run `chaos run --dry activities FILE`.",
    (
        "the activity",
        "timeout",
    ): "Remove it and give the time limit to the function itself (timeout_s in its arguments).",
    (
        "the python provider",
        "timeout",
    ): "Remove it and use the function's own timeout_s: a Python activity has no limit.",
    ("the python provider", "configuration"): "Remove it: a function that declares `configuration` gets all of it.",
}


def check_keys(document: Document) -> Iterator[Finding]:
    """Report every key of an object with a fixed set of keys that is not in that set."""
    data = document.data
    yield from _unknown(document, "", data, "the experiment", keys.EXPERIMENT)
    hypothesis = mapping(data.get("steady-state-hypothesis"))
    yield from _unknown(document, "/steady-state-hypothesis", hypothesis, "the hypothesis", keys.HYPOTHESIS)
    runtime = mapping(data.get("runtime"))
    yield from _unknown(document, "/runtime", runtime, "runtime", keys.RUNTIME)
    for part in ("rollbacks", "hypothesis"):
        yield from _unknown(document, f"/runtime/{part}", mapping(runtime.get(part)), f"runtime.{part}", keys.STRATEGY)
    for activity in activities(document):
        where = activity.pointer
        yield from _unknown(document, where, activity.data, "the activity", keys.ACTIVITY)
        pauses = mapping(activity.data.get("pauses"))
        yield from _unknown(document, f"{where}/pauses", pauses, "pauses", keys.PAUSES)
        kind = activity.kind
        if kind in keys.PROVIDER:
            what = f"the {kind} provider"
            yield from _unknown(document, f"{where}/provider", activity.provider, what, keys.PROVIDER[kind])
        tolerance = mapping(activity.data.get("tolerance"))
        judge = tolerance.get("type")
        if isinstance(judge, str) and judge in keys.TOLERANCE and judge != "probe":
            what = f"the {judge} tolerance"
            yield from _unknown(document, f"{where}/tolerance", tolerance, what, keys.TOLERANCE[judge])
    for control in controls(document):
        yield from _unknown(document, control.pointer, control.data, "the control", keys.CONTROL)
        provider = f"{control.pointer}/provider"
        yield from _unknown(document, provider, control.provider, "the control's provider", keys.CONTROL_PROVIDER)


def _unknown(
    document: Document, pointer: str, holder: Mapping[str, object], what: str, known: frozenset[str]
) -> Iterator[Finding]:
    for raw in holder:
        key = str(raw)
        if key in known or key.startswith("x-"):  # x- is the usual mark of a key for people and YAML anchors
            continue
        meant = keys.did_you_mean(key, known - {str(other) for other in holder})
        special = _ADVICE.get((what, key))
        advice = special or (
            f"Did you mean {meant!r}?" if meant else "Remove it, or name it x-… if it is a note for people."
        )
        message = f"{what[0].upper()}{what[1:]} has no key {key!r}: Chaos Toolkit ignores it without a word."
        yield document.finding("error", "unknown-key", f"{pointer}/{escape(key)}", message, advice)
