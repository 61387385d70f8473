# SPDX-License-Identifier: Apache-2.0
"""Activities that a dry run executes all the same."""

from collections.abc import Iterator

from chaosgpu.lint.document import Document
from chaosgpu.lint.experiment import activities
from chaosgpu.lint.finding import Finding

__all__ = ["check_dry"]


def check_dry(document: Document) -> Iterator[Finding]:
    """Report `dry` in an activity: as a text it overrides `chaos run --dry`, and the activity is executed."""
    for activity in activities(document):
        if "dry" in activity.data:
            message = f"{activity.name!r} has a key 'dry': it overrides --dry, so a dry run would run it for real."
            advice = "Remove it and run `chaos run --dry activities FILE`."
            yield document.finding("error", "dry", f"{activity.pointer}/dry", message, advice)
