# SPDX-License-Identifier: Apache-2.0
"""What the activities do: a page noted in the run's record, and the same page compared with it later."""

import json
import re
import time
from dataclasses import dataclass
from pathlib import Path

from chaosgpu.errors import BadArgument, ReadingUnknown
from chaosgpu.fleet.values import JsonObject, seconds
from chaosgpu.lease.directory import write_json
from chaosgpu.lease.run import current_run
from chaosgpu.metrics.page import Page, Sample, fetch, labels_from

__all__ = ["Asked", "changed", "noted", "ratio", "turns", "value"]

_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")


def noted(url: str, name: object, path: str, timeout_s: object) -> JsonObject:
    """Note a page."""
    page = fetch(url, path, seconds("timeout_s", timeout_s))
    samples = [{"name": one.name, "labels": dict(one.labels), "value": one.value} for one in page.samples]
    write_json(_file(name), {"at": round(time.time(), 3), "url": page.url, "samples": samples})
    return {"name": str(name), "url": page.url, "samples": len(samples)}


@dataclass(frozen=True)
class Asked:
    """Which page is asked, which of its samples are meant, and since when."""

    url: str
    labels: object
    since: object
    path: str
    timeout_s: object
    if_noted: object = False

    def now(self) -> Page:
        """Get the page as it is."""
        return fetch(self.url, self.path, seconds("timeout_s", self.timeout_s))

    def before(self) -> Page:
        """Return the page as it was noted; without a moment it is empty, as when the process began."""
        if self.since is None or (self.if_noted is True and not _file(self.since).exists()):
            return Page(f"{self.url}{self.path}", ())
        return _before(self.since, self.url, self.path)

    def wanted(self) -> dict[str, str]:
        """Return the labels."""
        return labels_from(self.labels)


def value(metric: str, asked: Asked) -> float:
    """Read a metric now."""
    return asked.now().needed(metric, asked.wanted())


def changed(metric: str, asked: Asked) -> float:
    """Return by how much a metric has changed."""
    return _change(asked.before(), asked.now(), metric, asked.wanted())


def ratio(above: str, below: str, asked: Asked) -> float:
    """Return the change of one counter over that of another."""
    wanted, before, now = asked.wanted(), asked.before(), asked.now()
    under = _change(before, now, below, wanted)
    if under <= 0:
        raise ReadingUnknown(f"{below} of {now.url} has not risen {_moment(asked.since)}: there is no ratio.")
    return _change(before, now, above, wanted) / under


def turns(transitions: str, state: str, asked: Asked) -> JsonObject:
    """Return how often a breaker opened and closed, and how far open it is now."""
    wanted, before, now = asked.wanted(), asked.before(), asked.now()
    return {
        "opened": _change(before, now, transitions, {**wanted, "to": "open"}),
        "closed": _change(before, now, transitions, {**wanted, "to": "closed"}),
        "open_now": now.needed(state, wanted),
    }


def _moment(since: object) -> str:
    return "since its process began" if since is None else f"since {since!r} was noted"


def _change(before: Page, now: Page, metric: str, labels: dict[str, str]) -> float:
    """Subtract; a counter that has become smaller began anew, and what it had counted is lost."""
    then = before.total(metric, labels)
    change = now.needed(metric, labels) - (0.0 if then is None else then)
    if change < 0 and metric.endswith("_total"):
        raise ReadingUnknown(
            f"{metric} of {now.url} is smaller than when it was noted: its process was started anew, so what it "
            "counted before is lost."
        )
    return change


def _before(since: object, url: str, path: str) -> Page:
    file = _file(since)
    try:
        document = json.loads(file.read_text())
    except OSError as error:
        raise BadArgument(
            f"No metrics were noted under {since!r} in this run; call note_metrics with this name first."
        ) from error
    if document["url"] != f"{url}{path}":
        raise BadArgument(f"What was noted under {since!r} is the page {document['url']}, not {url}{path}.")
    samples = tuple(Sample(one["name"], one["labels"], float(one["value"])) for one in document["samples"])
    return Page(document["url"], samples)


def _file(name: object) -> Path:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise BadArgument(f"name must be small letters, digits and dashes, such as 'start', not {name!r}.")
    return current_run().directory / "series" / f"metrics-{name}.json"
