# SPDX-License-Identifier: Apache-2.0
"""Charts as inline SVG: the drawing scales with the page, the words around it are HTML and stay readable."""

from collections.abc import Sequence
from itertools import pairwise

from chaosgpu.evidence.report.series import Line
from chaosgpu.evidence.report.span import Span, Window
from chaosgpu.evidence.report.text import duration, number, safe, tag

__all__ = ["axis", "lane", "plot", "spoken"]

_WIDTH, _HEIGHT = 1000, 200
_TICKS = 4
_MOST_POINTS = 1500
_MINUTES_FROM_S = 300.0


def _shading(span: Span, windows: Sequence[Window], height: str) -> str:
    """Draw the windows in which a fault was in force."""
    return "".join(
        f'<rect class="window" x="{span.percent(one.start_s)}%" y="0" height="{height}" '
        f'width="{round(span.percent(one.end_s) - span.percent(one.start_s), 3)}%"/>'
        for one in windows
    )


def axis(span: Span) -> str:
    """Write the seconds since the start below a chart."""
    ticks = (_tick(span.length_s * part / _TICKS, span) for part in range(_TICKS + 1))
    return tag("div", "".join(tag("span", safe(tick)) for tick in ticks), class_="axis", aria_hidden="true")


def _tick(at_s: float, span: Span) -> str:
    """Write a moment with no more digits than the axis needs."""
    return f"{at_s:.0f} s" if _TICKS * 2 <= span.length_s < _MINUTES_FROM_S else duration(at_s) if at_s else "0 s"


def lane(span: Span, windows: Sequence[Window], marks: str, label: str) -> str:
    """Draw one row of the timeline; `marks` are SVG in percent of its width."""
    drawing = f'<svg class="lane" role="img" aria-label="{safe(label)}">{_shading(span, windows, "100%")}{marks}</svg>'
    return tag("div", tag("span", safe(label), class_="name") + drawing, class_="row")


def plot(line: Line, span: Span, windows: Sequence[Window]) -> str:
    """Draw a quantity over time: a line, or for a yes or no a band that is filled while it is true."""
    if line.truth:
        return _band(line, span, windows)
    values = [value for _, value in line.points]
    low, high = min(0.0, *values), max(values)
    room = (high - low) or 1.0
    points = _thinned(line.points)
    places = " ".join(
        f"{round(span.percent(at) * _WIDTH / 100, 1):g},{round((high - value) / room * (_HEIGHT - 8) + 4, 1):g}"
        for at, value in points
    )
    drawing = (
        f'<svg class="plot" viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none" role="img" '
        f'aria-label="{safe(line.name)} of {safe(line.file)}, from {number(min(values))} to {number(max(values))}">'
        f'{_shading(span, windows, "100%")}<polyline points="{places}"/></svg>'
    )
    ends = tag("span", number(high)) + tag("span", number(low))
    title = tag("figcaption", tag("b", safe(spoken(line.name))) + tag("span", safe(line.file)))
    return tag("figure", title + tag("div", tag("div", ends, class_="scale") + drawing, class_="frame") + axis(span))


def _band(line: Line, span: Span, windows: Sequence[Window]) -> str:
    """Draw a yes or no; a sample counts until the next one."""
    turns = [line.points[0]]
    turns += [(at, value) for (_, before), (at, value) in pairwise(line.points) if value != before]
    ends = [at for at, _ in turns[1:]] + [line.points[-1][0]]
    marks = "".join(
        f'<rect class="{"yes" if value else "no"}" x="{span.percent(at)}%" y="25%" height="50%" '
        f'width="{max(round(span.percent(end) - span.percent(at), 3), 0.2)}%"/>'
        for (at, value), end in zip(turns, ends, strict=True)
    )
    yes = sum(bool(value) for _, value in line.points)
    label = f"{spoken(line.name)}: {yes} of {len(line.points)} samples"
    title = tag("figcaption", tag("b", safe(label)) + tag("span", safe(line.file)))
    drawing = f'<svg class="lane" role="img" aria-label="{safe(label)}">{_shading(span, windows, "100%")}{marks}</svg>'
    return tag("figure", title + drawing + axis(span), class_="band")


def _thinned(points: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    """Keep lowest and highest of each stretch where there are more points than the drawing can show."""
    if len(points) <= _MOST_POINTS:
        return points
    size = -(-len(points) // (_MOST_POINTS // 2))
    kept: list[tuple[float, float]] = []
    for start in range(0, len(points), size):
        part = points[start : start + size]
        kept += sorted({min(part, key=lambda one: one[1]), max(part, key=lambda one: one[1])})
    return kept


def spoken(name: str) -> str:
    """Write a field's name with its unit as words."""
    for ending, unit in (("_percent", ", %"), ("_per_s", ", 1/s"), ("_ms", ", ms"), ("_mib", ", MiB"), ("_s", ", s")):
        if name.endswith(ending):
            return name.removesuffix(ending).replace("_", " ") + unit
    return name.replace("_", " ")
