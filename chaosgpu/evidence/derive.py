# SPDX-License-Identifier: Apache-2.0
"""What follows from a bundle's primary files, and from nothing else: made anew at verification, and compared."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from importlib.resources import files as resources

from chaosgpu.evidence.contents import CHECKPOINT, Contents, read_json
from chaosgpu.evidence.difference import differences
from chaosgpu.evidence.junit import junit
from chaosgpu.evidence.missing import missing
from chaosgpu.evidence.report.page import report
from chaosgpu.evidence.statement import statement
from chaosgpu.evidence.sums import SIGNATURE, SUMS
from chaosgpu.fleet.values import JsonObject, JsonValue

__all__ = ["HOWTO", "SUMMARY", "VERIFIER", "derive", "is_derived"]

SUMMARY, HOWTO, VERIFIER = "summary.json", "HOWTO-VERIFY.txt", "verify.sh"
_FIXED = frozenset({SUMMARY, HOWTO, VERIFIER, CHECKPOINT, "leases.json", "statement.json", "junit.xml", "report.html"})


def is_derived(name: str) -> bool:
    """Tell whether a file of a bundle follows from the others."""
    return name in _FIXED or (name.startswith("hosts/") and name.endswith("/difference.json"))


def _is_made(name: str) -> bool:
    return is_derived(name) or name in (SUMS, SIGNATURE)


def derive(contents: Contents) -> dict[str, bytes]:
    """Make every derived file; the same primary files give the same bytes."""
    story = contents.story
    primary = {name: content for name, content in contents.files.items() if not _is_made(name)}
    made: dict[str, bytes] = {
        CHECKPOINT: contents.head.write(),
        "leases.json": _json({"leases": [asdict(lease) for lease in story.leases]}),
        "junit.xml": junit(story),
        "statement.json": _json(statement(story, primary)),
        "report.html": report(contents),
        SUMMARY: _json(_summary(contents)),
        VERIFIER: _resource("verify.sh"),
        HOWTO: _howto(contents),
    }
    for folder, host in contents.hosts.items():
        made[f"hosts/{folder}/difference.json"] = _json(_difference(primary, folder, host))
    return made


def _json(document: JsonObject) -> bytes:
    return (json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _resource(name: str) -> bytes:
    return (resources("chaosgpu.evidence") / "data" / name).read_bytes()


def _howto(contents: Contents) -> bytes:
    """Fill in what an auditor types."""
    words = {
        "@IDENTITY@": str(contents.export.get("identity") or "(unsigned)"),
        "@RUN@": contents.run,
        "@VERIFIER@": hashlib.sha256(_resource("verify.sh")).hexdigest(),
        "@SIZE@": str(contents.head.size),
        "@HEAD@": contents.head.head,
    }
    text = _resource("HOWTO-VERIFY.txt").decode()
    for word, value in words.items():
        text = text.replace(word, value)
    return text.encode()


def _summary(contents: Contents) -> JsonObject:
    """Sum a run up on one page of JSON."""
    story, ledger, attempt = contents.story, contents.ledger, contents.attempt
    states: dict[str, int] = {}
    for lease in story.leases:
        states[lease.state] = states.get(lease.state, 0) + 1
    logged: JsonObject | None = None
    if attempt is not None and attempt.end is not None:
        logged = {
            "drill": attempt.drill,
            "attempt": attempt.attempt,
            "plan_sha256": attempt.plan_sha256,
            "started": attempt.started,
            "ended": attempt.end["at"],
            "ended_as": attempt.end["type"],
            "line": attempt.end["seq"],
            "residue": attempt.residue,
        }
    lacking: list[JsonValue] = [*missing(contents)]
    return {
        "run": contents.run,
        "title": story.title,
        "verdict": story.verdict,
        "reason": story.reason,
        "planned": story.planned,
        "started": story.started,
        "finished": story.finished,
        "hosts": [*contents.hosts.values()],
        "leases": {**states},
        "ledger": {"lines": len(ledger.entries), "sha256": ledger.head, "withheld_lines": ledger.withheld},
        "experiment_sha256": story.experiment_sha256,
        "log": {"size": contents.head.size, "head": contents.head.head, "attempt": logged},
        "missing": lacking,
    }


def _difference(primary: Mapping[str, bytes], folder: str, host: str) -> JsonObject:
    """Compare what a host was before and after; None where one of both is not there."""
    found: JsonObject = {"host": host}
    for before, after in (("before", "after"), ("baseline", "restored")):
        place = f"run/hosts/{folder}"
        old, new = (read_json(primary, f"{place}/{name}.json") for name in (before, after))
        found[f"{before}_{after}"] = None if old is None or new is None else differences(old, new)
    return found
