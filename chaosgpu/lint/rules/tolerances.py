# SPDX-License-Identifier: Apache-2.0
"""Tolerances that never match, that nobody reads, or that raise: a raise there kills run, rollbacks and journal."""

from collections.abc import Iterator

from chaosgpu.lint import functions
from chaosgpu.lint.document import Document
from chaosgpu.lint.experiment import Activity, mapping, referable, steps
from chaosgpu.lint.finding import Finding
from chaosgpu.lint.values import only_of

__all__ = ["check_tolerances", "check_unread_tolerances"]

_NEVER, _FATAL = "tolerance-never", "tolerance-fatal"
_PAIR = 2  # Chaos Toolkit takes a list of exactly two for an inclusive range


def check_unread_tolerances(document: Document) -> Iterator[Finding]:
    """Report tolerances outside the hypothesis: they are ignored there."""
    used = {str(step.data["ref"]) for step in steps(document) if step.place == "hypothesis" and "ref" in step.data}
    for step in steps(document):
        if "tolerance" in step.data and step.place != "hypothesis" and step.name not in used:
            where = "the method" if step.place == "method" else "the rollbacks"
            message = (
                f"The tolerance of {step.name!r} is ignored: Chaos Toolkit reads tolerances in the hypothesis only."
            )
            advice = (
                f"Move the probe to the hypothesis, or remove the tolerance; in {where} only a raise fails a probe."
            )
            yield document.finding("warning", "tolerance-ignored", f"{step.pointer}/tolerance", message, advice)


def check_tolerances(document: Document) -> Iterator[Finding]:
    """Report what is wrong with each tolerance of the hypothesis."""
    targets = {str(step.data["name"]): step for step in referable(document)}
    for step in steps(document):
        if step.place != "hypothesis" or "tolerance" not in step.data:
            continue
        tolerance = step.data["tolerance"]
        real = targets.get(str(step.data["ref"]), step) if "ref" in step.data else step
        pointer = f"{step.pointer}/tolerance"
        for level_rule, message, advice in [*_shape(tolerance), *_against_function(tolerance, real, document.trusted)]:
            yield document.finding("error", level_rule, pointer, message, advice)


def _shape(tolerance: object) -> Iterator[tuple[str, str, str]]:
    if isinstance(tolerance, float):
        yield _NEVER, "A tolerance cannot be a fraction: Chaos Toolkit refuses it.", "Write a range tolerance."
    bounds = mapping(tolerance).get("range") if mapping(tolerance).get("type") == "range" else tolerance
    if isinstance(bounds, list):
        if not bounds:
            yield _NEVER, "An empty list matches nothing.", "List the values that are right."
        if len(bounds) == _PAIR:
            low, high = bounds
            if not _is_number(low) or not _is_number(high):
                message = (
                    f"A list of exactly two is a range, not a choice: {bounds!r} takes what lies between, or raises."
                )
                advice = "For one of two texts use a regex tolerance such as ^(first|second)$."
                yield "tolerance-range", message, advice
            elif low > high:
                message = f"The range from {low} to {high} is empty: the lower bound comes first."
                yield _NEVER, message, f"Write [{high}, {low}]."
    judge = mapping(tolerance)
    if judge.get("type") == "probe":
        provider = mapping(judge.get("provider"))
        if not isinstance(provider.get("arguments"), dict):
            message = "A probe tolerance without arguments ends the run with a KeyError: no rollback, no journal."
            yield _FATAL, message, "Write arguments: {} in its provider."
        if provider.get("type") != "python":
            message = f"A probe tolerance of type {provider.get('type')!r} is true whatever it answers."
            yield "tolerance-always", message, "Use a python provider whose function takes `value`."


def _against_function(tolerance: object, activity: Activity, trusted: frozenset[str]) -> Iterator[tuple[str, str, str]]:
    """Compare with what a known function says that it returns."""
    answer = functions.returned(activity.module, activity.function, trusted)
    judge = mapping(tolerance)
    kind, target = str(judge.get("type")), judge.get("target")
    is_pair = isinstance(tolerance, list) and len(tolerance) == _PAIR and all(map(_is_number, tolerance))
    is_text = isinstance(tolerance, str) and "${" not in tolerance
    aimed = kind in {"range", "regex"} and bool(target)
    instead = "Use a range or regex tolerance with a target, or a probe that returns the value itself."
    cases: tuple[tuple[bool, str, str, str, str], ...] = (
        (isinstance(tolerance, bool), "object text list", _NEVER, f"answers true or false for {tolerance!r}", instead),
        (is_text, "object number bool list", _NEVER, f"answers a text such as {tolerance!r}", instead),
        (is_pair, "object text list null", _FATAL, "answers a number that a range could hold", instead),
        (aimed, "number bool text list", _FATAL, f"answers an object with {target!r}", "Remove target."),
        (kind == "range" and not aimed, "object list", _FATAL, "answers a number that a range could hold", instead),
        (kind == "regex" and not aimed, "object number bool list", _FATAL, "answers a text to match", instead),
    )
    for applies, kinds, rule, promise, advice in cases:
        if applies and only_of(answer, frozenset(kinds.split())):
            so = "so it never matches" if rule == _NEVER else "and trying ends the run without rollbacks or journal"
            yield rule, f"{activity.function} never {promise}, {so}.", advice


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
