# SPDX-License-Identifier: Apache-2.0
"""What was broken and when, what the service did meanwhile, and what was measured."""

from collections.abc import Sequence

from chaosgpu.evidence.contents import Contents, read_json
from chaosgpu.evidence.report.chart import axis, lane, plot, spoken
from chaosgpu.evidence.report.series import series_of
from chaosgpu.evidence.report.span import Span, Window, seconds_of
from chaosgpu.evidence.report.text import brief, clock, duration, keep, number, safe, table, tag
from chaosgpu.evidence.story import Check, LeaseTimes, Step, Story

__all__ = ["broken", "charts", "steady_state"]

_MOST_LANES = 40
_MOST_ROWS = 60
_LEGEND = (
    ("i-held", "fault in force"), ("i-asked", "asked for"), ("i-undo", "being put back"),
    ("i-window", "any fault in force"), ("i-yes", "held"), ("i-no", "did not hold"),
)  # fmt: skip


def broken(story: Story, span: Span, windows: Sequence[Window]) -> str:
    """Show each fault on the time axis and in a table."""
    if not story.leases:
        return tag("section", tag("h2", "What was broken") + tag("p", "Nothing: no fault was put in."))
    legend = "".join(tag("li", tag("i", "", class_=kind) + safe(said)) for kind, said in _LEGEND)
    rows = [
        (
            tag("b", keep(lease.fault)), keep(lease.host), safe(brief(lease.params)), _in_force(lease),
            safe(brief(lease.observed)) or "—", _put_back(lease),
        )
        for lease in story.leases[:_MOST_ROWS]
    ]  # fmt: skip
    more = len(story.leases) - len(rows)
    note = tag("p", f"And {more} more, in leases.json.", class_="soft") if more > 0 else ""
    head = ("Fault", "Host", "Asked for", "In force (UTC)", "Observed", "Put back")
    drawing = tag("ul", legend, class_="legend") + tag("div", _timeline(story, span, windows), class_="timeline")
    return tag("section", tag("h2", "What was broken, where and how long") + drawing + table(head, rows) + note)


def _timeline(story: Story, span: Span, windows: Sequence[Window]) -> str:
    """Draw a row a fault, then the checks of the steady state and the probes."""
    rows = [
        lane(span, windows, _held(lease, span), f"{lease.fault} on {lease.host}")
        for lease in story.leases[:_MOST_LANES]
    ]
    if story.hypothesis:
        rows.append(lane(span, windows, _dots(span, [(one.at, one.met) for one in story.hypothesis]), "steady state"))
    probes: dict[str, list[tuple[str, bool | None]]] = {}
    for check in story.checks:
        if check.kind == "probe":
            probes.setdefault(check.name, []).append((check.at, check.held))
    rows += [lane(span, windows, _dots(span, found), name) for name, found in list(probes.items())[:12]]
    return "".join(rows) + axis(span)


def _held(lease: LeaseTimes, span: Span) -> str:
    """Draw one fault: asked for, in force, being put back."""
    end = seconds_of(lease.ended) or span.end_s
    moments = [
        ("asked", seconds_of(lease.reserved), seconds_of(lease.active) or end),
        ("held", seconds_of(lease.active), seconds_of(lease.reverting) or end),
        ("undo", seconds_of(lease.reverting), end),
        ("stuck", end if lease.state == "stuck" else None, span.end_s),
    ]
    return "".join(_bar(span, kind, start, until) for kind, start, until in moments if start is not None)


def _bar(span: Span, kind: str, start: float, until: float) -> str:
    left = span.percent(start)
    width = max(round(span.percent(until) - left, 3), 0.35)
    return f'<rect class="{kind}" x="{left}%" y="22%" width="{width}%" height="56%" rx="2"/>'


def _dots(span: Span, found: Sequence[tuple[str, bool | None]]) -> str:
    """Draw a dot a check."""
    drawn = []
    for at, met in found:
        kind = "dot-unknown" if met is None else "dot-ok" if met else "dot-bad"
        place = span.percent(seconds_of(at) or span.start_s)
        drawn.append(f'<circle class="{kind}" cx="{place}%" cy="50%" r="5"/>')
    return "".join(drawn)


def _in_force(lease: LeaseTimes) -> str:
    """Say from when to when."""
    start, end = seconds_of(lease.active), seconds_of(lease.ended)
    if start is None:
        return tag("span", "never verified", class_="unknown")
    if end is None:
        return f"{clock(lease.active)} to " + tag("span", "no end recorded", class_="bad")
    return f"{clock(lease.active)} to {clock(lease.ended)} " + keep(f"({duration(end - start)})")


def _put_back(lease: LeaseTimes) -> str:
    """Say how it ended."""
    if lease.state == "clean":
        by = f", by {lease.ended_by}" if lease.ended_by else ""
        return tag("span", "✓ yes", class_="ok") + safe(f"{by}: {brief(lease.restored)}" if lease.restored else by)
    if lease.state in ("refused", "never in force"):
        return tag("span", safe(lease.state), class_="unknown") + safe(f" {lease.reason or ''}")
    if lease.state == "stuck":
        return tag("span", "✗ stuck", class_="bad") + safe(f" {lease.reason or ''}")
    return tag("span", f"? {safe(lease.state)}", class_="bad")


def steady_state(contents: Contents, span: Span, windows: Sequence[Window]) -> str:  # noqa: ARG001 (one form for all parts)
    """Show what was to hold and whether it did, and each activity."""
    story = contents.story
    experiment = read_json(contents.files, "run/experiment.json") or {}
    hypothesis = experiment.get("steady-state-hypothesis")
    title = hypothesis.get("title") if isinstance(hypothesis, dict) else None
    about = experiment.get("description")
    said = tag("p", safe(about), class_="soft") if isinstance(about, str) and about else ""
    said += tag("p", f"To hold: <b>{safe(title)}</b>") if title else ""
    rows = [(safe(_when(one)), keep(clock(one.at)), _met(one.met)) for one in _told(story.hypothesis)]
    shown = table(("When", "At (UTC)", "Held"), rows) if rows else tag("p", "It was never checked.")
    acts = [
        (
            keep(clock(one.at)),
            safe(one.name),
            safe(f"{one.kind}, ") + keep(one.phase),
            keep(duration(one.duration_s)),
            _result(one),
        )
        for one in story.checks[:_MOST_ROWS]
    ]  # fmt: skip
    more = len(story.checks) - len(acts)
    note = tag("p", f"And {more} more, in the ledger.", class_="soft") if more > 0 else ""
    listed = tag("h3", "Activities") + table(("At (UTC)", "Activity", "Kind", "Took", "Result"), acts) if acts else ""
    return tag("section", tag("h2", "Expected and found") + said + shown + listed + note)


def _told(steps: Sequence[Step]) -> list[Step]:
    """Leave out those checks during the method that held: the time axis has them all."""
    return [one for one in steps if one.what != "during" or one.met is not True]


def _when(step: Step) -> str:
    return {"before": "before the fault", "during": "during the method", "after": "after the method"}.get(
        step.what, step.what
    )


def _met(met: bool | None) -> str:
    if met is None:
        return tag("span", "? unknown", class_="unknown")
    return tag("span", "✓ yes", class_="ok") if met else tag("span", "✗ no", class_="bad")


def _result(check: Check) -> str:
    if check.status != "succeeded":
        return tag("span", f"✗ {safe(check.status)}", class_="bad") + safe(f" {brief(check.error or '')}")
    mark = tag("span", "✓", class_="ok") if check.held else tag("span", "✗", class_="bad")
    return f"{mark} {safe(brief(check.output))}"


def charts(contents: Contents, span: Span, windows: Sequence[Window]) -> str:
    """Draw everything that was sampled, with the fault's windows shaded."""
    lines = series_of(contents.files, contents.story, span)
    if not lines:
        return ""
    still = [line for line in lines if not line.truth and len({value for _, value in line.points}) == 1]
    moving = [line for line in lines if line not in still]
    bands, curves = (
        "".join(plot(line, span, windows) for line in moving if line.truth is kind) for kind in (True, False)
    )
    constant = "; ".join(f"{spoken(line.name)} {number(line.points[0][1])} ({line.file})" for line in still)
    said = tag("p", "Shaded: a fault was in force. Times are from the start of the run.", class_="soft")
    said += tag("p", safe(f"Always the same: {constant}."), class_="soft") if constant else ""
    drawn = "".join(tag("div", part, class_="charts") for part in (bands, curves) if part)
    return tag("section", tag("h2", "Measured over time") + said + drawn)
