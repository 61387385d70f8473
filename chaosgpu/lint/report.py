# SPDX-License-Identifier: Apache-2.0
"""What `chaosgpu lint` prints, for people and for programs."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from chaosgpu.lint.finding import Finding

__all__ = ["FileReport", "as_json", "as_text"]


@dataclass(frozen=True)
class FileReport:
    """What was found in one file; `unreadable` is the sentence where it could not be read."""

    file: str
    findings: tuple[Finding, ...] = ()
    unreadable: str | None = None


def as_text(reports: Sequence[FileReport]) -> str:
    """Return lines of `file:line: level: sentence`, as compilers write them, and one line with the sum."""
    lines: list[str] = []
    for report in reports:
        if report.unreadable:
            lines.append(report.unreadable)
        elif not report.findings:
            lines.append(f"{report.file}: clean")
        for finding in report.findings:
            where = f"{report.file}:{finding.line}" if finding.line else report.file
            lines.append(f"{where}: {finding.level}: {finding.message} [{finding.rule}]")
            lines.append(f"    at {finding.pointer or '/'}")
            lines.append(f"    {finding.advice}")
    errors, warnings = _count(reports, "error"), _count(reports, "warning")
    if errors or warnings:
        lines.append(f"{_plural(errors, 'error')}, {_plural(warnings, 'warning')} in {_plural(len(reports), 'file')}")
    return "\n".join(lines) + "\n"


def as_json(reports: Sequence[FileReport]) -> str:
    """Return one JSON object: `files` with their findings, and the sums `errors` and `warnings`."""
    files = [
        {"file": one.file, "unreadable": one.unreadable, "findings": [found.as_json() for found in one.findings]}
        for one in reports
    ]
    sums = {"errors": _count(reports, "error"), "warnings": _count(reports, "warning")}
    return json.dumps({"files": files, **sums}, indent=2, ensure_ascii=False) + "\n"


def _count(reports: Sequence[FileReport], level: str) -> int:
    return sum(finding.level == level for report in reports for finding in report.findings)


def _plural(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
