# SPDX-License-Identifier: Apache-2.0
"""Words and numbers as a report shows them: escaped, short, and the same on every machine."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape

from chaosgpu.evidence.report.span import seconds_of

__all__ = ["brief", "clock", "duration", "keep", "moment", "number", "safe", "table", "tag"]

_LONGEST = 160
_MINUTE_S, _HOUR_S = 60.0, 3600.0
_FEW_S = 10.0


def safe(source: object) -> str:
    """Escape text for HTML."""
    return escape(str(source))


def tag(name: str, content: str, **attributes: str) -> str:
    """Write an element; the content is HTML already, the attributes are not."""
    said = "".join(f' {key.rstrip("_").replace("_", "-")}="{safe(value)}"' for key, value in attributes.items())
    return f"<{name}{said}>{content}</{name}>"


def number(value: float) -> str:
    """Write a number with about four digits."""
    return f"{value:.4g}" if abs(value) < 10000 else f"{value:,.0f}".replace(",", " ")  # noqa: PLR2004 (four digits)


def duration(value: float | None) -> str:
    """Write a span of time."""
    if value is None:
        return "—"
    if value < _FEW_S:
        return f"{value:.2f} s"
    if value < 2 * _MINUTE_S:
        return f"{value:.0f} s"
    return f"{value / _MINUTE_S:.1f} min" if value < 2 * _HOUR_S else f"{value / _HOUR_S:.1f} h"


def keep(source: object) -> str:
    """Escape a short text that is not to be broken over lines."""
    return tag("span", safe(source), class_="keep")


def moment(source: str | None) -> str:
    """Write a day and time in UTC."""
    at = seconds_of(source) if source else None
    return "—" if at is None else f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"


def clock(source: str | None) -> str:
    """Write a time of the day."""
    at = seconds_of(source) if source else None
    return "—" if at is None else f"{datetime.fromtimestamp(at, UTC):%H:%M:%S}"


def brief(value: object) -> str:
    """Write a JSON value on one line, cut where it is long."""
    if isinstance(value, dict):
        text = ", ".join(f"{key} {one if isinstance(one, str) else _json(one)}" for key, one in value.items())
    else:
        text = value if isinstance(value, str) else _json(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]], kind: str = "") -> str:
    """Write a table whose cells are HTML; on a phone each cell carries its heading."""
    top = "".join(tag("th", safe(cell), scope="col") for cell in head)
    body = "".join(
        tag("tr", "".join(tag("td", tag("div", cell), data_label=label) for label, cell in zip(head, row, strict=True)))
        for row in rows
    )
    return tag("table", f"<thead><tr>{top}</tr></thead><tbody>{body}</tbody>", class_=f"stack {kind}".strip())
