# SPDX-License-Identifier: Apache-2.0
"""Find in an experiment what `chaos validate` accepts and should not."""

from chaosgpu.lint.document import Document, Unreadable, parse, read
from chaosgpu.lint.finding import Finding
from chaosgpu.lint.rules import RULES

__all__ = ["RULES", "Document", "Finding", "Unreadable", "lint", "parse", "read"]


def lint(document: Document) -> list[Finding]:
    """Apply every rule and return what they found, in the order of the file. Nothing is run, nothing is changed."""
    found = [finding for rule in RULES for finding in rule(document)]
    return sorted(found, key=lambda finding: (finding.line or 0, finding.pointer, finding.rule, finding.message))
