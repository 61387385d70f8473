# SPDX-License-Identifier: Apache-2.0
"""A scan as lines for people and as JSON for programs."""

from collections.abc import Iterator, Sequence

from chaosgpu.cuda.compare import Difference, Outlier
from chaosgpu.cuda.flat import Value, shown
from chaosgpu.cuda.meanings import meaning
from chaosgpu.cuda.rules import Finding
from chaosgpu.cuda.scan import CLEAN, DRIFT, Scan
from chaosgpu.fleet.values import JsonObject, JsonValue

__all__ = ["as_json", "as_text", "difference_json", "difference_lines", "findings_text"]

_MOST_SHOWN = 60


def as_text(scan: Scan, *, explain: bool) -> str:
    """Write the worst first; with `explain` what each difference breaks."""
    lines = [*_silent(scan), *_findings(scan.findings), *_differences(scan.differences, explain=explain)]
    lines += [*_outliers(scan.outliers, explain=explain), *_unread(scan)]
    lines += [f"note: {note}" for note in scan.notes]
    lines.append(_verdict(scan))
    return "\n".join(lines) + "\n"


def _verdict(scan: Scan) -> str:
    asked = f"{len(scan.hosts)} host{'' if len(scan.hosts) == 1 else 's'}"
    if scan.exit_code == CLEAN:
        return f"no drift: {asked}, compared with {scan.compared_with}"
    if scan.exit_code == DRIFT:
        odd = {one.host for one in scan.differences} | {one.host for one in scan.findings}
        odd |= {host for one in scan.outliers for names in one.others.values() for host in names}
        return f"drift: {len(odd)} of {asked} compared with {scan.compared_with}: {', '.join(sorted(odd))}"
    return f"unknown: no drift is known, but not all of {asked} could be read"


def _silent(scan: Scan) -> Iterator[str]:
    for host, why in scan.silent.items():
        yield f"{host}: UNKNOWN, it gave no answer: {why}"


def findings_text(found: Sequence[Finding]) -> str:
    """Write findings alone; an empty text where there are none."""
    return "".join(f"{line}\n" for line in _findings(found))


def _findings(found: Sequence[Finding]) -> Iterator[str]:
    for one in found:
        yield f"{one.host}: {one.level.value.upper()} [{one.rule}] {one.what}"
        yield f"    source: {one.source}"


def _differences(found: Sequence[Difference], *, explain: bool) -> Iterator[str]:
    for one in found:
        yield from difference_lines(one, "locked", "found", explain=explain)


def difference_lines(one: Difference, before: str, after: str, *, explain: bool) -> Iterator[str]:
    """Write one difference, and what it breaks where that is asked for."""
    yield f"{one.host}: {one.key}: {before} {shown(one.due)}, {after} {shown(one.found)}"
    if explain:
        yield f"    breaks: {meaning(one.key)}"


def _outliers(found: Sequence[Outlier], *, explain: bool) -> Iterator[str]:
    for one in found:
        most = f"{shown(one.majority)} ({one.agree} of {one.total})" if one.agree else "no majority"
        others = "; ".join(f"{shown(value)}: {', '.join(hosts)}" for value, hosts in one.others.items())
        yield f"{one.key}: {most} | {others}"
        if explain:
            yield f"    breaks: {meaning(one.key)}"


def _unread(scan: Scan) -> Iterator[str]:
    for one in scan.unread[:_MOST_SHOWN]:
        yield f"{one.host}: {one.key}: UNKNOWN, {one.why}"
    if len(scan.unread) > _MOST_SHOWN:
        yield f"… and {len(scan.unread) - _MOST_SHOWN} more values that are unknown; --json has them all"


def as_json(scan: Scan) -> JsonObject:
    """Return the whole scan."""
    return {
        "exit_code": scan.exit_code,
        "compared_with": scan.compared_with,
        "hosts": [*scan.hosts],
        "silent": dict(scan.silent),
        "differences": [difference_json(one) for one in scan.differences],
        "outliers": [_outlier(one) for one in scan.outliers],
        "findings": [_finding(one) for one in scan.findings],
        "unread": [{"host": one.host, "key": one.key, "why": one.why} for one in scan.unread],
        "notes": [*scan.notes],
    }


def difference_json(one: Difference) -> JsonObject:
    """Return one difference with what it breaks."""
    due, found = _plain(one.due), _plain(one.found)
    return {"host": one.host, "key": one.key, "due": due, "found": found, "breaks": meaning(one.key)}


def _outlier(one: Outlier) -> JsonObject:
    others: list[JsonValue] = [{"value": _plain(value), "hosts": [*hosts]} for value, hosts in one.others.items()]
    return {
        "key": one.key,
        "majority": _plain(one.majority),
        "agree": one.agree,
        "total": one.total,
        "others": others,
        "breaks": meaning(one.key),
    }


def _finding(one: Finding) -> JsonObject:
    return {
        "host": one.host,
        "rule": one.rule,
        "level": one.level.value,
        "keys": [*one.keys],
        "what": one.what,
        "source": one.source,
    }


def _plain(value: Value | None) -> JsonValue:
    return [*value] if isinstance(value, tuple) else value
