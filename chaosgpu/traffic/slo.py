# SPDX-License-Identifier: Apache-2.0
"""A service level objective over the traffic: what must hold, when it first did not, from when on it did again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pydantic

from chaosgpu.errors import BadArgument, ReadingUnknown
from chaosgpu.traffic.series import Figures, Line, summed

__all__ = ["Recovery", "Slo", "broken_after_s", "recovery", "slo_from", "why_broken"]


class Slo(pydantic.BaseModel):
    """Bounds; what is left out is not judged. An answer that is wrong is an error too."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, strict=True)
    p50_ms: float | None = pydantic.Field(default=None, gt=0)
    p95_ms: float | None = pydantic.Field(default=None, gt=0)
    p99_ms: float | None = pydantic.Field(default=None, gt=0)
    error_percent: float | None = pydantic.Field(default=None, ge=0, le=100)
    wrong: int | None = pydantic.Field(default=None, ge=0)
    throughput_per_s: float | None = pydantic.Field(default=None, gt=0)


@dataclass(frozen=True)
class Recovery:
    """How a service came back: `after_s` is None where it did not, `held_s` how long it has held since."""

    after_s: float | None
    held_s: float
    why: str | None


def slo_from(value: object) -> Slo:
    """Read an objective that an experiment gave."""
    known = ", ".join(Slo.model_fields)
    if not isinstance(value, Mapping) or not value:
        raise BadArgument(f"slo must be an object with at least one of {known}, not {value!r}.")
    try:
        return Slo.model_validate(dict(value))
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadArgument(f"slo.{where}: {first['msg']} (given: {first['input']!r}); known are {known}.") from error


def why_broken(slo: Slo, figures: Figures) -> str | None:
    """Say which bound does not hold; None where all do."""
    for percent, bound_ms in ((50, slo.p50_ms), (95, slo.p95_ms), (99, slo.p99_ms)):
        found_ms = figures.latency_ms(percent)
        if bound_ms is not None and found_ms is not None and found_ms > bound_ms:
            return f"p{percent} is {found_ms:.1f} ms, over {bound_ms:g} ms"
        if bound_ms is not None and found_ms is None and figures.due:
            return f"nothing was answered, so there is no p{percent}"
    if slo.error_percent is not None and figures.error_percent > slo.error_percent:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(figures.errors.items()))
        return f"{figures.error_percent:.1f} % got no right answer in time, over {slo.error_percent:g} % ({kinds})"
    if slo.wrong is not None and figures.wrong > slo.wrong:
        return f"{figures.wrong} answers were wrong, over {slo.wrong} ({figures.wrong_because})"
    if slo.throughput_per_s is not None and figures.throughput_per_s < slo.throughput_per_s:
        return f"{figures.throughput_per_s:.1f} right answers a second, under {slo.throughput_per_s:g}"
    return None


def broken_after_s(slo: Slo, lines: Sequence[Line], begin: float, window_s: int, timeout_s: float) -> float | None:
    """Return after how many seconds the objective was first broken, over windows of whole seconds; None if never."""
    for end in _ends(lines, window_s):
        window = lines[end - window_s : end]
        if _broken(slo, window, timeout_s) is not None:
            return round(max(0.0, window[-1].at + 1 - begin), 3)
    return None


def recovery(slo: Slo, lines: Sequence[Line], since: float, window_s: int, timeout_s: float) -> Recovery:
    """Return from when on the objective held to the end of what was seen."""
    after_s, why = 0.0, None
    last = lines[-1].at + 1 if lines else since
    for end in _ends(lines, window_s):
        window = lines[end - window_s : end]
        broken = _broken(slo, window, timeout_s)
        if broken is not None:
            after_s, why = window[-1].at + 1 - since, broken
    held_s = last - since - after_s
    return Recovery(round(max(0.0, after_s), 3) if held_s > 0 or why is None else None, round(held_s, 3), why)


def _ends(lines: Sequence[Line], window_s: int) -> range:
    return range(window_s, len(lines) + 1)


def _broken(slo: Slo, window: Sequence[Line], timeout_s: float) -> str | None:
    figures = summed(window, timeout_s)
    if not figures.due:
        return None
    if figures.void is not None:
        raise ReadingUnknown(f"The objective cannot be judged at every second: {figures.void}.")
    return why_broken(slo, figures)
