# SPDX-License-Identifier: Apache-2.0
"""A bundle's files read into what they say; what cannot be read is a problem, what is not there is missing."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from chaosgpu.evidence.checkpoint import Checkpoint, head_of
from chaosgpu.evidence.gather import LEDGER
from chaosgpu.evidence.ledger_text import LedgerText, read_ledger
from chaosgpu.evidence.log_rules import Attempt, Log, read_log
from chaosgpu.evidence.names import plain_name
from chaosgpu.evidence.story import Story, tell
from chaosgpu.fleet.values import JsonObject

__all__ = ["CHECKPOINT", "EXPORT", "LOG", "PLAN", "STATEMENT_OF_APPROVAL", "Contents", "read_contents", "read_json"]

LOG, CHECKPOINT, EXPORT = "log.jsonl", "checkpoint", "export.json"
PLAN, STATEMENT_OF_APPROVAL = "plan/plan.yaml", "plan/statement.json"


@dataclass(frozen=True)
class Contents:
    """What a bundle's primary files say."""

    files: Mapping[str, bytes]
    log: Log
    ledger: LedgerText
    story: Story
    export: JsonObject
    journal: JsonObject | None

    @property
    def run(self) -> str:
        """Return the run's name, as the ledger has it; one that was killed at once has it from its folder alone."""
        return self.story.run or str(self.export.get("run") or "")

    @property
    def hosts(self) -> dict[str, str]:
        """Return every host by the name of its folder: those that the ledger names, and those that were looked at."""
        looked_at = {name.split("/")[2] for name in self.files if name.startswith("run/hosts/") and name.count("/") > 2}  # noqa: PLR2004 (run, hosts, the host, its file)
        named = {plain_name(host): host for host in self.story.hosts}
        return dict(sorted({**{folder: folder for folder in looked_at}, **named}.items()))

    @property
    def attempt(self) -> Attempt | None:
        """Return the attempt in the site's log that ended with this run."""
        ended = (one for one in self.log.attempts.values() if one.end is not None and one.end["run"] == self.run)
        return next(ended, None)

    @property
    def approvals(self) -> list[JsonObject]:
        """Return the log's entries about approvals of the plan under which the run was played."""
        attempt = self.attempt
        plan = ("approved", attempt.drill, attempt.plan_sha256) if attempt is not None else None
        return [one for one in self.log.entries if (one["type"], one["drill"], one.get("plan_sha256")) == plan]

    @property
    def head(self) -> Checkpoint:
        """Return where the log stands."""
        return head_of(self.log)

    @property
    def journal_verdict(self) -> str | None:
        """Return the verdict in the journal in the ledger's words; None where the journal has none."""
        said = self.journal.get("chaosgpu") if self.journal is not None else None
        if not isinstance(said, dict) or "verdict" not in said:
            return None
        return "none" if said["verdict"] is None else str(said["verdict"])


def read_contents(files: Mapping[str, bytes]) -> Contents:
    """Read the primary files of a bundle."""
    *lines, torn = files.get(LOG, b"").split(b"\n")
    ledger = read_ledger(files.get(LEDGER, b""))
    return Contents(
        files=files,
        log=read_log(lines, torn),
        ledger=ledger,
        story=tell([entry for entry in ledger.entries if entry]),
        export=read_json(files, EXPORT) or {},
        journal=read_json(files, "run/journal.json"),
    )


def read_json(files: Mapping[str, bytes], name: str) -> JsonObject | None:
    """Read a JSON object; None where there is none."""
    try:
        found = json.loads(files[name])
    except (KeyError, ValueError):
        return None
    return found if isinstance(found, dict) else None
