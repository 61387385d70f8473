# SPDX-License-Identifier: Apache-2.0
"""Whether what the experiment breaks is put back: the rollback strategy, and the rollback that undoes the run."""

from collections.abc import Iterator

from chaosgpu.lint.document import Document
from chaosgpu.lint.experiment import Activity, controls, mapping, referable, steps
from chaosgpu.lint.faults import GUARD, UNDO_ALL, is_fault, own_undo
from chaosgpu.lint.finding import Finding
from chaosgpu.lint.keys import did_you_mean

__all__ = ["check_hypothesis_strategy", "check_own_undo", "check_rollback_strategy", "check_undo"]

_WHEN_LOST = {
    "default": "after an interrupt, or when a probe raises, no rollback is run",
    "never": "no rollback is ever run",
    "deviated": "rollbacks are run only if the hypothesis deviated",
}
_HYPOTHESIS = frozenset({
    "default", "before-method-only", "after-method-only", "during-method-only", "continuously", "skip",
})  # fmt: skip


def check_rollback_strategy(document: Document) -> Iterator[Finding]:
    """Report a strategy other than `always` where something is broken or to be rolled back."""
    at_stake = any(step.place == "rollbacks" or step.data.get("type") == "action" for step in steps(document))
    runtime = mapping(document.data.get("runtime"))
    strategy = mapping(runtime.get("rollbacks")).get("strategy")
    if not at_stake or strategy == "always":
        return
    if strategy is None:
        message = "The rollback strategy is missing, so it is 'default': " + _WHEN_LOST["default"] + "."
        if runtime:
            message += " A site-wide 'always' is reset too, since the experiment has a runtime block."
    elif str(strategy) in _WHEN_LOST:
        message = f"The rollback strategy is {strategy!r}: {_WHEN_LOST[str(strategy)]}."
    else:
        message = f"Chaos Toolkit has no rollback strategy {strategy!r}."
    advice = "Write runtime: {rollbacks: {strategy: always}}."
    yield document.finding("error", "rollback-strategy", "/runtime/rollbacks/strategy", message, advice)


def check_hypothesis_strategy(document: Document) -> Iterator[Finding]:
    """Report a hypothesis strategy that does not exist, and one that never looks at the steady state."""
    strategy = mapping(mapping(document.data.get("runtime")).get("hypothesis")).get("strategy")
    if strategy is None or str(strategy) in _HYPOTHESIS - {"skip"}:
        return
    pointer = "/runtime/hypothesis/strategy"
    if strategy == "skip":
        message = "The hypothesis strategy is 'skip': the steady state is never looked at, so the run cannot deviate."
        advice = "Write default, or leave it out."
        yield document.finding("warning", "hypothesis-strategy", pointer, message, advice)
        return
    meant = did_you_mean(str(strategy), _HYPOTHESIS)
    message = f"Chaos Toolkit has no hypothesis strategy {strategy!r}."
    advice = f"Did you mean {meant!r}?" if meant else f"It has: {', '.join(sorted(_HYPOTHESIS))}."
    yield document.finding("error", "hypothesis-strategy", pointer, message, advice)


def check_undo(document: Document) -> Iterator[Finding]:
    """Report a fault in an experiment whose rollbacks do not undo the run, or do it unseen in the background."""
    rollbacks = _resolved_rollbacks(document)
    undoing = [step for step in rollbacks if (step.module, step.function) == UNDO_ALL]
    for step in undoing:
        if step.data.get("background") is True:
            message = "The rollback that undoes the run is in the background, where nobody waits for it."
            pointer = f"{step.pointer}/background"
            yield document.finding("error", "no-undo", pointer, message, "Remove background from it.")
    faults = [step for step in steps(document) if step.place != "rollbacks" and is_fault(step)]
    guarded = any(control.provider.get("module") == GUARD for control in controls(document))
    if (faults or guarded) and not undoing:
        pointer = faults[0].pointer if faults else "/rollbacks"
        message = f"No rollback calls {'.'.join(UNDO_ALL)}, which undoes whatever was done in the run."
        advice = f"Add one rollback: a python provider with module {UNDO_ALL[0]} and func {UNDO_ALL[1]}."
        yield document.finding("error", "no-undo", pointer, message, advice)


def check_own_undo(document: Document) -> Iterator[Finding]:
    """Report a change of a service that no rollback takes back for the same model."""
    rollbacks = _resolved_rollbacks(document)
    for step in steps(document):
        undo = own_undo(step)
        if undo is None or step.place == "rollbacks":
            continue
        model = _model(step)
        if not any((one.module, one.function, _model(one)) == (step.module, undo, model) for one in rollbacks):
            message = (
                f"{step.function} of {step.name!r} is not undone: no rollback calls {undo} for the model {model!r}."
            )
            advice = f"Add a rollback with module {step.module}, func {undo} and the same model."
            yield document.finding("error", "no-undo", step.pointer, message, advice)


def _resolved_rollbacks(document: Document) -> list[Activity]:
    """Return the rollbacks with their references followed; a reference to nothing is left out."""
    targets = {str(step.data["name"]): step for step in referable(document)}
    own = [step for step in steps(document) if step.place == "rollbacks"]
    resolved = [targets.get(str(step.data["ref"])) if "ref" in step.data else step for step in own]
    return [step for step in resolved if step is not None]


def _model(activity: Activity) -> object:
    return mapping(activity.provider.get("arguments")).get("model")
