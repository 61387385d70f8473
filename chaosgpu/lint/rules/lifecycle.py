# SPDX-License-Identifier: Apache-2.0
"""The lifecycle of the hosts, and playbooks of a user's own: a mistake in them refuses the run, or leaves something."""

from collections.abc import Iterator

from chaosgpu.errors import BadArgument
from chaosgpu.lifecycle.plan import KEY, planned
from chaosgpu.lint.document import Document
from chaosgpu.lint.experiment import controls, mapping, steps
from chaosgpu.lint.finding import Finding
from chaosgpu.lint.substitution import names_of

__all__ = ["check_lifecycle", "check_playbooks"]

_LIFECYCLE = "chaosgpu.controls.lifecycle"
_RUN_PLAYBOOK = ("chaosgpu.fleet.actions", "run_playbook")
_UNDO = ("undo_playbook", "no_undo", "check")


def check_lifecycle(document: Document) -> Iterator[Finding]:
    """Report a plan that the guard would refuse, and one half of plan and control without the other."""
    configuration = mapping(document.data.get("configuration"))
    declared = [control for control in controls(document) if control.provider.get("module") == _LIFECYCLE]
    pointer = f"/configuration/{KEY}"
    if KEY not in configuration:
        for control in declared:
            message = f"The lifecycle control has nothing to play: the configuration has no {KEY}."
            advice = f"Say in {KEY} what is to happen (docs/lifecycle.md), or take the control out."
            yield document.finding("error", "lifecycle-plan", control.pointer, message, advice)
        return
    if not any(control.of_experiment for control in declared):
        message = f"The configuration has {KEY} and nothing would play it: the run is refused."
        advice = f"Add to the experiment's controls: a python provider with module {_LIFECYCLE}."
        yield document.finding("error", "lifecycle-plan", pointer, message, advice)
    for control in declared:
        for key in ("scope", "automatic"):
            if control.data.get(key) not in (None, True):
                message = f"With {key}: {control.data[key]!r} a half of the lifecycle would not be played."
                yield document.finding("error", "lifecycle-plan", f"{control.pointer}/{key}", message, f"Remove {key}.")
    known, plan = names_of(document).resolve(configuration[KEY])
    if not known:
        return  # a value that only the run has
    try:
        planned({KEY: plan})
    except BadArgument as error:
        yield document.finding("error", "lifecycle-plan", pointer, str(error), "See docs/lifecycle.md for its keys.")


def check_playbooks(document: Document) -> Iterator[Finding]:
    """Report a playbook of a user's own that nothing undoes, and one of which that is said."""
    for step in steps(document):
        if (step.module, step.function) != _RUN_PLAYBOOK:
            continue
        arguments = mapping(step.provider.get("arguments"))
        pointer = f"{step.pointer}/provider/arguments"
        given = [key for key in _UNDO if arguments.get(key) not in (None, False)]
        if not given:
            message = f"{step.name!r} plays a playbook that nothing undoes: it is refused."
            advice = "Name an undo_playbook; or say check: true, or no_undo: true where it may stay."
            yield document.finding("error", "no-undo", pointer, message, advice)
        elif given == ["no_undo"]:
            message = f"What {step.name!r} changes stays, as no_undo says: such a run is inconclusive."
            yield document.finding("warning", "no-undo", f"{pointer}/no_undo", message, "Name an undo_playbook.")
