# SPDX-License-Identifier: Apache-2.0
"""Whether what the experiment breaks is put back: the rollback strategy, and the rollback that undoes the run."""

from collections.abc import Iterator

from chaosgpu.lint.document import Document
from chaosgpu.lint.experiment import Activity, is_fault, mapping, referable, steps
from chaosgpu.lint.finding import Finding
from chaosgpu.lint.keys import did_you_mean

__all__ = ["check_hypothesis_strategy", "check_rollback_strategy", "check_undo"]

UNDO = ("chaosgpu.lease.actions", "undo_all")
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
    targets = {str(step.data["name"]): step for step in referable(document)}
    undoing = [step for step in steps(document) if step.place == "rollbacks" and _undoes(step, targets)]
    for step in undoing:
        if step.data.get("background") is True:
            message = "The rollback that undoes the run is in the background: the next rollback does not wait for it."
            pointer = f"{step.pointer}/background"
            yield document.finding("error", "no-undo", pointer, message, "Remove background from it.")
    if undoing:
        return
    for step in steps(document):
        if step.place != "rollbacks" and is_fault(step):
            yield document.finding(
                "error",
                "no-undo",
                step.pointer,
                f"Nothing undoes the fault of {step.name!r}: no rollback calls {'.'.join(UNDO)}.",
                f"Add one rollback: a python provider with module {UNDO[0]} and func {UNDO[1]}.",
            )


def _undoes(step: Activity, targets: dict[str, Activity]) -> bool:
    real = targets.get(str(step.data["ref"])) if "ref" in step.data else step
    return real is not None and (real.module, real.function) == UNDO
