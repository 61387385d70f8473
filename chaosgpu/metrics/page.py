# SPDX-License-Identifier: Apache-2.0
"""Reads a metrics page in Prometheus's text form; a sample that is not there is absent, which is not zero."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from chaosgpu.errors import BadArgument, ReadingUnknown, Unreachable
from chaosgpu.triton.http import exchange

__all__ = ["Page", "Sample", "fetch", "labels_from", "read"]

_SAMPLE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?\s+(\S+)(?:\s+-?\d+)?$")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')
_ESCAPES = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}
_OK = 200


@dataclass(frozen=True)
class Sample:
    """One line of the page."""

    name: str
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True)
class Page:
    """All of it."""

    url: str
    samples: tuple[Sample, ...]

    def total(self, name: str, labels: Mapping[str, str]) -> float | None:
        """Add up the samples of a name that carry these labels; None where there is none."""
        found = [one.value for one in self.samples if one.name == name and labels.items() <= one.labels.items()]
        return math.fsum(found) if found else None

    def needed(self, name: str, labels: Mapping[str, str]) -> float:
        """Add up, or raise ReadingUnknown where there is nothing to add."""
        total = self.total(name, labels)
        if total is None:
            shown = ", ".join(f'{key}="{value}"' for key, value in labels.items())
            raise ReadingUnknown(
                f"The metrics of {self.url} hold no {name}{{{shown}}}: absent is not zero. Check name and labels."
            )
        return total


def fetch(url: str, path: object, within_s: float) -> Page:
    """Get a page."""
    if not isinstance(path, str) or not path.startswith("/"):
        raise BadArgument(f"path must begin with a slash, such as '/metrics', not {path!r}.")
    answer = exchange(url, "GET", path, within_s=within_s)
    if answer.status != _OK:
        raise Unreachable(f"GET {path} at {url}: HTTP {answer.status}; is this where the metrics are?")
    return Page(f"{url}{path}", read(answer.body.decode("utf-8", "replace")))


def read(text: str) -> tuple[Sample, ...]:
    """Read the lines that are samples; comments and what is not understood are left out."""
    found = []
    for line in text.splitlines():
        match = _SAMPLE.match(line)
        if match is None:
            continue
        name, labels, value = match.groups()
        try:
            number = float(value)
        except ValueError:
            continue
        found.append(Sample(name, {key: _plain(raw) for key, raw in _LABEL.findall(labels or "")}, number))
    return tuple(found)


def _plain(raw: str) -> str:
    return re.sub(r'\\[\\"n]', lambda match: _ESCAPES[match.group()], raw)


def labels_from(value: object) -> dict[str, str]:
    """Read the labels that an experiment gave."""
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(one, str) for pair in value.items() for one in pair):
        raise BadArgument(f"labels must be an object of texts, such as {{'upstream': 'chat'}}, not {value!r}.")
    return dict(value)
