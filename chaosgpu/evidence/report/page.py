# SPDX-License-Identifier: Apache-2.0
"""The whole page: the verdict first, then what was broken, what came of it, how safe it was, and how to check it."""

from importlib.resources import files as resources

from chaosgpu.evidence.cases import cases
from chaosgpu.evidence.contents import Contents
from chaosgpu.evidence.missing import missing
from chaosgpu.evidence.report import integrity, outcome, sections
from chaosgpu.evidence.report.span import span_of, windows_of
from chaosgpu.evidence.report.text import moment, safe, tag

__all__ = ["report"]

_KNOWN = frozenset({"passed", "deviated", "unsafe", "inconclusive"})
_SENTENCES = {
    "deviated": "The fault was proved and put back, and the service did not hold.",
    "unsafe": "Something was not put back.",
    "inconclusive": "This run proved nothing.",
    "none": "This was a rehearsal without a verdict.",
}


def report(contents: Contents) -> bytes:
    """Write the page: the same bundle gives the same bytes."""
    story = contents.story
    verdict = story.verdict if story.verdict in _KNOWN else "none" if story.verdict == "none" else "inconclusive"
    span = span_of(story)
    windows = windows_of(story, span)
    parts = [
        sections.unsigned(contents),
        sections.lacking(missing(contents)),
        sections.key_facts(contents, windows),
        outcome.broken(story, span, windows),
        outcome.steady_state(contents, span, windows),
        outcome.charts(contents, span, windows),
        sections.safety(contents),
        sections.deficiencies(cases(story)),
        sections.hosts(contents),
        integrity.approvals(contents),
        integrity.integrity(contents),
        integrity.limits(),
    ]
    style = (resources("chaosgpu.evidence") / "data" / "report.css").read_text(encoding="utf-8")
    reason = _capital(story.reason) or "The ledger has no end, so there is no verdict."
    why = f"{reason} {_SENTENCES.get(verdict, '')}".strip()
    head = tag(
        "header",
        tag(
            "div",
            tag(
                "p",
                f"Evidence of a fault injection · {safe(moment(story.started or story.planned))}",
                class_="what",
            )
            + tag("h1", safe(story.title or contents.run))
            + tag("p", tag("span", safe(story.verdict or "no verdict"), class_="verdict") + safe(why), class_="why"),
        ),
        class_=verdict,
    )
    foot = tag("footer", tag("p", f"Run {safe(contents.run)}. Made of the files of this bundle alone."))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{safe(story.verdict or 'no verdict')}: {safe(story.title or contents.run)}</title>\n"
        f"<style>{style}</style>\n</head>\n<body>\n{head}\n"
        + tag("main", "\n".join(part for part in parts if part) + f"\n{foot}")
        + "\n</body>\n</html>\n"
    ).encode(errors="replace")


def _capital(sentence: str) -> str:
    """Begin with a capital letter and end with a full stop."""
    return f"{sentence[0].upper()}{sentence[1:].rstrip('.')}." if sentence else ""
