# SPDX-License-Identifier: Apache-2.0
"""Verify a bundle: a pure function over its bytes, whose rules these are, in the order in which they are checked.

Form. Nothing else is looked at until these hold.
 1. Every file has a plain name, and stands once, in order, with its digest in `SHA256SUMS`; no file is more or less.
 2. `SHA256SUMS.sig` is an SSH signature over the bytes of `SHA256SUMS` in the namespace `chaosgpu-evidence-v1`,
    written in the one form that ssh-keygen gives it, by the identity that is asked for, with a key that the verifier's
    own file of allowed signers has for it.
The site's log.
 3. Each line of `log.jsonl` has the one form of entries; `seq`, `prev` and `at` follow; what is started was planned,
    what is ended was started, and both only once: `log_rules.read_log`.
 4. `checkpoint` names the log's last line; the log goes on from the checkpoint that the verifier holds.
The run.
 5. The ledger's lines are in their one form, chained, of the bundle's run, nothing follows `run.finished`; a line
    that is shown without a secret has the digest of the line as it was.
 6. The log has one attempt that ended with this run, under the ledger's own length, digest and verdict. A run that was
    noted as lost may have been written to its end later; one that was noted as finished not.
 7. Journal, ledger, log and `summary.json` have one verdict.
 8. The experiment is the one whose digest the ledger has, unless a secret was taken out of it.
 9. The plan is the one that was started; each approval in the log is there, signed over the plan's statement in the
    namespace `chaosgpu-approval-v1`, by somebody who is not the operator.
10. What is derived (leases, differences, summary, statement, JUnit, report, checkpoint, instructions) is, byte by byte,
    what follows from the rest. A bundle of another version of this program is not made anew; that is said.
What is missing is told apart from what does not hold: an attempt without an end, a ledger without one, a lease without
one, a file that a whole record has: `missing.missing`.
What no rule can show: that the signer wrote the truth in the first place; and that a drill was taken out, by who has
the signing key, of the end of the log that no checkpoint covers yet.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from chaosgpu import __version__
from chaosgpu.errors import BadArgument
from chaosgpu.evidence.checkpoint import Checkpoint, read_checkpoint
from chaosgpu.evidence.contents import CHECKPOINT, EXPORT, LOG, PLAN, STATEMENT_OF_APPROVAL, Contents, read_contents
from chaosgpu.evidence.derive import derive, is_derived
from chaosgpu.evidence.keygen import Checker
from chaosgpu.evidence.missing import missing
from chaosgpu.evidence.sshsig import read_signature
from chaosgpu.evidence.sums import NAMESPACE, SIGNATURE, SUMS, check_sums

__all__ = ["APPROVAL_NAMESPACE", "Trust", "Verified", "verify"]

APPROVAL_NAMESPACE = "chaosgpu-approval-v1"


@dataclass(frozen=True)
class Trust:
    """What a verifier brings along, and never takes from the bundle."""

    check: Checker
    # Whose signature it must be; None: whoever the bundle says, if the allowed signers have him.
    identity: str | None = None
    checkpoint: Checkpoint | None = None
    # A run that belongs to no drill is in no log.
    unlogged: bool = False


@dataclass(frozen=True)
class Verified:
    """What came of it: `problems` that do not hold, what is `missing`, and `notes` for people."""

    problems: tuple[str, ...]
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    run: str = ""
    verdict: str | None = None
    signed_by: str = ""
    fingerprint: str = ""
    contents: Contents | None = None


def verify(files: Mapping[str, bytes], trust: Trust) -> Verified:
    """Check a bundle's files, by their names, against the rules above."""
    try:
        return _verify(files, trust)
    except (RecursionError, ValueError) as error:  # JSON that is nested without end, or with numbers that are none
        return Verified((f"It holds what no record holds, and could not be read: {error}.",))


def _verify(files: Mapping[str, bytes], trust: Trust) -> Verified:
    """Check a bundle that can be read."""
    problems = check_sums(files)
    identity = trust.identity or _identity(files)
    fingerprint = ""
    if not problems:
        fingerprint, problems = _signature(files, identity, trust)
    if problems:
        return Verified(tuple(problems), signed_by=identity)
    contents = read_contents(files)
    problems = [
        *contents.log.problems,
        *_checkpoints(contents, trust),
        *contents.ledger.problems,
        *_attempt(contents),
        *_verdicts(contents),
        *_experiment(contents),
        *_plan(contents, trust),
    ]
    again, notes = _derived(contents)
    lacking = [sentence for sentence in missing(contents) if not (trust.unlogged and sentence.startswith("No attempt"))]
    if contents.ledger.withheld:
        notes.append(f"{contents.ledger.withheld} lines of the ledger are shown without a secret that they held.")
    return Verified(
        problems=(*problems, *again),
        missing=tuple(lacking),
        notes=tuple(notes),
        run=contents.run,
        verdict=contents.story.verdict,
        signed_by=identity,
        fingerprint=fingerprint,
        contents=contents,
    )


def _identity(files: Mapping[str, bytes]) -> str:
    """Return who the bundle says has signed it: whether he may is for the allowed signers."""
    try:
        said = json.loads(files[EXPORT])
    except (KeyError, ValueError):
        return ""
    return str(said.get("identity") or "") if isinstance(said, dict) else ""


def _signature(files: Mapping[str, bytes], identity: str, trust: Trust) -> tuple[str, list[str]]:
    """Rule 2."""
    if SIGNATURE not in files:
        return "", ["The bundle is UNSIGNED: anybody may have written all of it."]
    try:
        found = read_signature(files[SIGNATURE])
    except ValueError as error:
        return "", [f"{SIGNATURE} {error}."]
    if not identity or identity.startswith("-"):
        return "", ["The bundle does not say who signed it; say whose signature it must be."]
    why_not = trust.check(files[SUMS], files[SIGNATURE], identity, NAMESPACE)
    return found.fingerprint, [] if why_not is None else [f"The signature is not that of {identity}: {why_not}."]


def _checkpoints(contents: Contents, trust: Trust) -> list[str]:
    """Rule 4."""
    problems = []
    try:
        own = read_checkpoint(contents.files.get(CHECKPOINT, b""))
    except BadArgument as error:
        return [f"{CHECKPOINT}: {error}"]
    if own != contents.head or LOG not in contents.files:
        problems.append("The checkpoint does not name the last line of the log.")
    broken = trust.checkpoint.broken_by(contents.log) if trust.checkpoint is not None else None
    return [*problems, broken] if broken else problems


def _attempt(contents: Contents) -> list[str]:
    """Rule 6."""
    attempt, ledger = contents.attempt, contents.ledger
    folder = contents.export.get("run")
    problems = [] if folder == contents.run else [f"The ledger is of run {contents.run}, its folder was {folder}."]
    if attempt is None or attempt.end is None:
        return problems
    end = attempt.end
    lines = end["ledger_lines"] if isinstance(end["ledger_lines"], int) else 0
    # A lost run may have been without a single line; what came later is then not known to the log at all.
    known = ledger.digests[lines - 1] if 0 < lines <= len(ledger.digests) else ""
    if known != end["ledger_sha256"]:
        problems.append(f"The ledger is not the one that the log names in line {end['seq']}: it was changed or cut.")
    if end["type"] == "finished" and lines != len(ledger.digests):
        problems.append("The ledger has more lines than when the log noted its end.")
    if end["type"] == "finished" and end["verdict"] != contents.story.verdict:
        problems.append(f"The log says {end['verdict']}, the ledger {contents.story.verdict}: there are two verdicts.")
    same = [one for one in contents.log.attempts.values() if one.end is not None and one.end["run"] == contents.run]
    if len(same) > 1:
        problems.append(f"{len(same)} attempts in the log end with this one run.")
    return problems


def _verdicts(contents: Contents) -> list[str]:
    """Rule 7; the summary is made from the ledger (rule 10)."""
    said, verdict = contents.journal_verdict, contents.story.verdict
    if said is None or verdict is None or said == verdict:
        return []
    return [f"The journal says {said}, the ledger {verdict}: there are two verdicts."]


def _experiment(contents: Contents) -> list[str]:
    """Rule 8."""
    source = contents.files.get("run/experiment.json")
    redacted = contents.export.get("redacted")
    if source is None or contents.story.experiment_sha256 is None:
        return []
    if isinstance(redacted, dict) and "run/experiment.json" in redacted:
        return []
    try:
        written = json.dumps(json.loads(source), sort_keys=True, ensure_ascii=False).encode()
    except ValueError:
        return ["experiment.json is no JSON."]
    same = hashlib.sha256(written).hexdigest() == contents.story.experiment_sha256
    return [] if same else ["experiment.json is not the experiment that the ledger names by its digest."]


def _plan(contents: Contents, trust: Trust) -> list[str]:
    """Rule 9."""
    attempt, plan = contents.attempt, contents.files.get(PLAN)
    if attempt is None or plan is None:
        return []
    if hashlib.sha256(plan).hexdigest() != attempt.plan_sha256:
        return [f"The plan is not the one under which attempt {attempt.attempt} was started."]
    problems = []
    for entry in contents.approvals:
        why_not = _approval(contents, str(entry["by"]), str(entry["signature_sha256"]), attempt.plan_sha256, trust)
        problems += [f"The approval by {entry['by']} does not hold: {why_not}."] if why_not else []
    return problems


def _approval(contents: Contents, by: str, sha256: str, plan_sha256: str, trust: Trust) -> str | None:
    """Say why an approval does not hold."""
    statement = contents.files.get(STATEMENT_OF_APPROVAL)
    signature = contents.files.get(f"plan/approvals/{sha256}.sig")
    if statement is None or signature is None:
        return "it was taken out of the bundle"
    if hashlib.sha256(signature).hexdigest() != sha256:
        return "it is not the signature that the log names"
    try:
        read_signature(signature)
        said = json.loads(statement)
    except ValueError as error:
        return str(error)
    if not isinstance(said, dict) or said.get("plan_sha256") != plan_sha256:
        return "it is over another plan"
    if str(said.get("operator")).partition("@")[0].casefold() == by.partition("@")[0].casefold():
        return "it is the operator's own"
    return trust.check(statement, signature, by, APPROVAL_NAMESPACE)


def _derived(contents: Contents) -> tuple[list[str], list[str]]:
    """Rule 10."""
    made_by = contents.export.get("tool")
    if made_by != __version__:
        return [], [f"The bundle is of version {made_by}, this is {__version__}: what is derived was not made anew."]
    made = derive(contents)
    there = {name for name in contents.files if is_derived(name)}
    changed = [name for name in sorted(made.keys() | there) if contents.files.get(name) != made.get(name)]
    return [f"{name} is not what follows from the rest of the bundle." for name in changed], []
