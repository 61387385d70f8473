# SPDX-License-Identifier: Apache-2.0
"""The guard control, without which every action of this package refuses to work."""

from collections.abc import Iterator

from chaosgpu.lint.document import Document
from chaosgpu.lint.experiment import controls, steps
from chaosgpu.lint.faults import GUARD, is_fault
from chaosgpu.lint.finding import Finding

__all__ = ["check_background_faults", "check_guard"]


def check_guard(document: Document) -> Iterator[Finding]:
    """Report a missing guard, one at the wrong level, and one of which half is switched off."""
    faults = [step for step in steps(document) if is_fault(step)]
    guards = [control for control in controls(document) if control.provider.get("module") == GUARD]
    advice = f"Add to the experiment's controls: a python provider with module {GUARD}."
    if faults and not guards:
        message = f"The guard control is missing: {faults[0].name!r} and every other fault will be refused."
        yield document.finding("error", "no-guard", "/controls", message, advice)
    if faults and guards and not any(control.of_experiment for control in guards):
        message = "The guard control stands at an activity or the hypothesis, so it does not see the run."
        yield document.finding("error", "no-guard", guards[0].pointer, message, advice)
    for control in guards:
        for key, meaning in (("scope", "half of the guard is"), ("automatic", "the guard may be")):
            if key in control.data and control.data[key] is not True:
                message = f"With {key}: {control.data[key]!r} {meaning} switched off."
                yield document.finding("error", "no-guard", f"{control.pointer}/{key}", message, f"Remove {key}.")


def check_background_faults(document: Document) -> Iterator[Finding]:
    """Report faults in the background: a fault stays by itself, and Chaos Toolkit loses a background refusal."""
    for step in steps(document):
        if step.data.get("background") is True and is_fault(step):
            message = (
                f"{step.name!r} is in the background: the method goes on before the fault is verified,"
                " and an interruption is lost there without a word."
            )
            advice = (
                "Remove background: a fault stays in force after its action has returned, until its deadline or undo."
            )
            yield document.finding("error", "background-fault", f"{step.pointer}/background", message, advice)
