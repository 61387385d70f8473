# SPDX-License-Identifier: Apache-2.0
"""The arguments of Python activities against the signatures of the functions that they name."""

import inspect
from collections.abc import Iterator, Mapping

from chaosgpu.lint import functions
from chaosgpu.lint.document import Document
from chaosgpu.lint.experiment import Activity, activities
from chaosgpu.lint.finding import Finding
from chaosgpu.lint.keys import did_you_mean
from chaosgpu.lint.nodes import escape
from chaosgpu.lint.substitution import Names, names_of
from chaosgpu.lint.values import describe, fits

__all__ = ["check_arguments", "check_kind"]

_INJECTED = frozenset({"configuration", "secrets"})


def check_arguments(document: Document) -> Iterator[Finding]:
    """Report unknown functions, unknown and missing arguments, and values of the wrong type."""
    names = names_of(document)
    for activity in activities(document):
        if not activity.module or not activity.function:
            continue
        pointer = f"{activity.pointer}/provider"
        problem = functions.why_not(activity.module, document.trusted)
        if problem:
            message = f"{activity.name!r} names the module {activity.module!r}, {problem}."
            advice = "Correct the name, or install what is missing: `python -c 'import MODULE'` says what."
            yield document.finding("error", "unknown-function", f"{pointer}/module", message, advice)
        elif functions.is_trusted(activity.module, document.trusted):
            signature = functions.signature(activity.module, activity.function, document.trusted)
            if signature is None:
                meant = did_you_mean(
                    activity.function, frozenset(functions.public_functions(activity.module, document.trusted))
                )
                message = f"{activity.module} has no function {activity.function!r}."
                advice = f"Did you mean {meant!r}?" if meant else "`chaos discover chaostoolkit-gpu` lists them all."
                yield document.finding("error", "unknown-function", f"{pointer}/func", message, advice)
            else:
                yield from _against(document, activity, signature, names)


def check_kind(document: Document) -> Iterator[Finding]:
    """Report an action that is labelled a probe, or the reverse: dry runs go by the label."""
    for activity in activities(document):
        kind = activity.module.rpartition(".")[2]
        label = activity.data.get("type")
        if activity.module.startswith("chaosgpu.") and kind in {"actions", "probes"} and label != kind[:-1]:
            meaning = (
                "a dry run without actions would run it for real" if kind == "actions" else "a dry run would miss it"
            )
            message = f"{activity.function} of {activity.module} is labelled {label!r}: {meaning}."
            pointer = f"{activity.pointer}/type"
            yield document.finding("error", "wrong-type", pointer, message, f"Write type: {kind[:-1]}.")


def _against(document: Document, activity: Activity, signature: inspect.Signature, names: Names) -> Iterator[Finding]:
    arguments = activity.provider.get("arguments", {})
    pointer = f"{activity.pointer}/provider/arguments"
    function = activity.function
    if not isinstance(arguments, dict):
        message = f"The arguments of {function} are not an object of names and values."
        yield document.finding("error", "argument-type", pointer, message, "Write them by name.")
        return
    parameters = signature.parameters
    open_ended = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())
    known = frozenset(parameters) - _INJECTED
    for raw, value in arguments.items():
        key = str(raw)
        place = f"{pointer}/{escape(key)}"
        if key not in known:
            if not open_ended:
                meant = did_you_mean(key, known - set(arguments))
                advice = f"Did you mean {meant!r}?" if meant else f"It takes: {', '.join(sorted(known)) or 'nothing'}."
                message = f"{function} has no argument {key!r}."
                yield document.finding("error", "argument-name", place, message, advice)
            continue
        certain, actual = names.resolve(value)
        annotation = parameters[key].annotation
        if certain and not fits(actual, annotation):
            said = f"{value!r} stands for {actual!r}" if actual != value else f"{actual!r} is {_kind_of(actual)}"
            message = f"{key} of {function} must be {describe(annotation)}; {said}."
            yield document.finding("error", "argument-type", place, message, f"Write {describe(annotation)}.")
    yield from _missing(document, activity, parameters, arguments)


def _missing(
    document: Document,
    activity: Activity,
    parameters: Mapping[str, inspect.Parameter],
    arguments: Mapping[str, object],
) -> Iterator[Finding]:
    given = set(arguments) | _INJECTED | ({"value"} if activity.place == "tolerance" else set())
    for key, parameter in parameters.items():
        variable = parameter.kind in {inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL}
        if parameter.default is inspect.Parameter.empty and not variable and key not in given:
            message = f"{activity.function} needs the argument {key!r} ({describe(parameter.annotation)})."
            pointer = f"{activity.pointer}/provider/arguments"
            yield document.finding("error", "argument-name", pointer, message, f"Add {key}.")


def _kind_of(value: object) -> str:
    return "null" if value is None else f"{describe(type(value))}"
