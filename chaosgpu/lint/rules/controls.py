# SPDX-License-Identifier: Apache-2.0
"""Controls that Chaos Toolkit would drop or fail to call without a word."""

import inspect
from collections.abc import Iterator

from chaosgpu.lint import functions
from chaosgpu.lint.document import Document
from chaosgpu.lint.experiment import Control, controls, mapping
from chaosgpu.lint.finding import Finding
from chaosgpu.lint.keys import did_you_mean
from chaosgpu.lint.nodes import escape

__all__ = ["check_controls"]

_LEVELS = ("loading_experiment", "experiment", "hypothesis", "method", "rollback", "activity")
_HOOKS = ("configure_control", *(f"{when}_{level}_control" for level in _LEVELS for when in ("before", "after")))
_INJECTED = frozenset({
    "context", "state", "configuration", "secrets", "experiment", "extensions", "settings", "event_registry",
})  # fmt: skip


def check_controls(document: Document) -> Iterator[Finding]:
    """Report controls that cannot be loaded, have no hook, or whose hooks do not take the arguments given."""
    for control in controls(document):
        provider = control.provider
        pointer = f"{control.pointer}/provider"
        if provider.get("type") != "python":
            message = f"The control {control.name!r} is not loaded: its provider type is {provider.get('type')!r}."
            yield document.finding("error", "control-lost", f"{pointer}/type", message, "Write type: python.")
            continue
        module = provider.get("module")
        if not isinstance(module, str):
            continue  # chaos validate says it
        problem = functions.why_not(module, document.trusted)
        if problem:
            message = f"The control {control.name!r} names the module {module!r}, {problem}: it is left out."
            advice = "Correct the name, or install what is missing: `python -c 'import MODULE'` says what."
            yield document.finding("error", "control-lost", f"{pointer}/module", message, advice)
        elif functions.is_trusted(module, document.trusted):
            yield from _hooks(document, control, module)


def _hooks(document: Document, control: Control, module: str) -> Iterator[Finding]:
    loaded = functions.load(module, document.trusted)
    hooks = {name: getattr(loaded, name) for name in _HOOKS if inspect.isfunction(getattr(loaded, name, None))}
    pointer = f"{control.pointer}/provider"
    if not hooks:
        message = f"The module {module!r} has no control function such as before_experiment_control."
        yield document.finding(
            "error", "control-lost", f"{pointer}/module", message, "Name a module that is a control."
        )
    given = {str(key) for key in mapping(control.provider.get("arguments"))}
    unknown: dict[str, list[str]] = {}
    missing: dict[str, list[str]] = {}
    taken: set[str] = set()
    for name, hook in hooks.items():
        parameters = inspect.signature(hook).parameters
        takes_all = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())
        taken |= set(parameters) - _INJECTED
        for key in sorted(given - set(parameters)) if not takes_all else ():
            unknown.setdefault(key, []).append(name)
        for key, one in parameters.items():
            required = one.default is inspect.Parameter.empty and one.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
            if required and key not in given | _INJECTED:
                missing.setdefault(key, []).append(name)
    for key, names in unknown.items():
        meant = did_you_mean(key, frozenset(taken))
        message = (
            f"{', '.join(names)} of {module} does not take the argument {key!r}: the call fails and nobody is told."
        )
        advice = f"Did you mean {meant!r}?" if meant and meant != key else "Remove the argument."
        yield document.finding("error", "control-arguments", f"{pointer}/arguments/{escape(key)}", message, advice)
    for key, names in missing.items():
        message = f"{', '.join(names)} of {module} needs the argument {key!r}: the call fails and nobody is told."
        yield document.finding(
            "error", "control-arguments", f"{pointer}/arguments", message, f"Add {key} to arguments."
        )
