# SPDX-License-Identifier: Apache-2.0
"""Activities that are named elsewhere: unknown references, and names that two activities share."""

from collections.abc import Iterator

from chaosgpu.lint.document import Document
from chaosgpu.lint.experiment import referable, steps
from chaosgpu.lint.finding import Finding
from chaosgpu.lint.keys import did_you_mean

__all__ = ["check_duplicate_names", "check_references"]

# What the engine still reads of an activity that is a reference; all else comes from the activity it names.
_READ_OF_A_REFERENCE = frozenset({"ref", "tolerance", "background"})


def check_references(document: Document) -> Iterator[Finding]:
    """Report references to nothing. In a rollback one such reference ends the whole rollback phase."""
    targets = {str(step.data["name"]): step for step in referable(document)}
    for step in steps(document):
        if "ref" not in step.data:
            continue
        ref = str(step.data["ref"])
        pointer = f"{step.pointer}/ref"
        if ref not in targets:
            meant = did_you_mean(ref, frozenset(targets))
            so = (
                "the rollbacks end there and no journal is written"
                if step.place == "rollbacks"
                else "the run ends there"
            )
            yield document.finding(
                "error",
                "unknown-ref",
                pointer,
                f"No activity of the method or the hypothesis is named {ref!r}: when it is reached, {so}.",
                f"Did you mean {meant!r}?" if meant else "Write the activity out; rollbacks cannot be referred to.",
            )
        elif "ref" in targets[ref].data:
            message = f"The activity {ref!r} is itself a reference; references are followed only once."
            yield document.finding(
                "error", "unknown-ref", pointer, message, "Refer to the activity that is written out."
            )
        for key in sorted(set(map(str, step.data)) - _READ_OF_A_REFERENCE):
            message = f"{key!r} is ignored beside a reference: everything comes from the activity {ref!r}."
            advice = "Remove it, or write the activity out."
            yield document.finding("warning", "ref-with-more", f"{step.pointer}/{key}", message, advice)


def check_duplicate_names(document: Document) -> Iterator[Finding]:
    """Report names that two activities share: a reference goes to the last one."""
    used = {str(step.data["ref"]) for step in steps(document) if "ref" in step.data}
    first: dict[str, str] = {}
    for step in referable(document):
        name = str(step.data["name"])
        if name in first:
            line = document.line_of(first[name])
            message = (
                f"The name {name!r} is taken by the activity at line {line}: a reference goes to the last one only."
            )
            yield document.finding(
                "error" if name in used else "warning",
                "duplicate-name",
                f"{step.pointer}/name",
                message,
                "Give each activity a name of its own.",
            )
        first.setdefault(name, step.pointer)
