# SPDX-License-Identifier: Apache-2.0
"""Processes and HTTP calls: a shell where none was meant, and calls without a time limit."""

from collections.abc import Iterator

from chaosgpu.lint.document import Document
from chaosgpu.lint.experiment import activities
from chaosgpu.lint.finding import Finding

__all__ = ["check_shell", "check_time_limits"]


def check_shell(document: Document) -> Iterator[Finding]:
    """Report process arguments as one text: Chaos Toolkit hands that to a shell, with every `${value}` put in."""
    for activity in activities(document):
        arguments = activity.provider.get("arguments")
        if activity.kind == "process" and isinstance(arguments, str):
            message = (
                f"The arguments of {activity.name!r} are one text: a shell runs them, with every ${{value}} put in."
            )
            advice = "Write them as a list; without a shell each item is one argument."
            yield document.finding("error", "shell", f"{activity.pointer}/provider/arguments", message, advice)


def check_time_limits(document: Document) -> Iterator[Finding]:
    """Report processes and HTTP calls that may wait for ever: one hung probe takes all rollbacks with it."""
    for activity in activities(document):
        if activity.kind in {"process", "http"} and activity.provider.get("timeout") is None:
            message = f"{activity.name!r} has no time limit, and a call that hangs keeps every rollback from running."
            advice = "Add timeout (seconds) to its provider."
            yield document.finding("warning", "no-timeout", f"{activity.pointer}/provider", message, advice)
