# SPDX-License-Identifier: Apache-2.0
"""The guard's stop conditions: a mistake in them refuses the run, so it is better found here."""

from collections.abc import Iterator

from chaosgpu.errors import BadArgument
from chaosgpu.lint.document import Document
from chaosgpu.lint.experiment import controls, mapping
from chaosgpu.lint.faults import GUARD
from chaosgpu.lint.finding import Finding
from chaosgpu.lint.substitution import names_of
from chaosgpu.stops.plan import plan_of
from chaosgpu.stops.scene import Scene

__all__ = ["check_stops"]


def check_stops(document: Document) -> Iterator[Finding]:
    """Report stop conditions that the guard would refuse."""
    for control in controls(document):
        arguments = mapping(control.provider.get("arguments"))
        if control.provider.get("module") != GUARD or arguments.get("stop_when") is None:
            continue
        known, stop_when = names_of(document).resolve(arguments["stop_when"])
        if not known:
            continue  # a value that only the run has
        try:
            plan_of(stop_when, Scene(document.data))
        except BadArgument as error:
            pointer = f"{control.pointer}/provider/arguments/stop_when"
            advice = "See docs/stops.md for the conditions and how they are joined."
            yield document.finding("error", "stop-condition", pointer, str(error), advice)
