# SPDX-License-Identifier: Apache-2.0
"""Who approved, by what this record can be recognised, how to check it, and what it does not show."""

from chaosgpu.evidence.contents import Contents
from chaosgpu.evidence.report.text import moment, safe, table, tag
from chaosgpu.evidence.sums import NAMESPACE

__all__ = ["approvals", "integrity", "limits"]


def approvals(contents: Contents) -> str:
    """Say under which plan the run was played and who approved it."""
    attempt = contents.attempt
    if attempt is None:
        return ""
    rows = [
        (safe(entry["by"]), moment(str(entry["at"])), tag("code", safe(str(entry["signature_sha256"])[:16]) + "…"))
        for entry in contents.approvals
    ]
    plan = tag("p", f"Drill <b>{safe(attempt.drill)}</b>, attempt {safe(attempt.attempt)}, under the plan ") + tag(
        "p", tag("code", safe(attempt.plan_sha256))
    )
    shown = table(("Approved by", "Noted at", "Signature"), rows) if rows else tag("p", "No approval is in the log.")
    return tag("section", tag("h2", "Plan and approvals") + plan + shown)


def integrity(contents: Contents) -> str:
    """Show every digest that matters, and the commands."""
    head, ledger, attempt = contents.head, contents.ledger, contents.attempt
    identity = contents.export.get("identity")
    ended = "—" if attempt is None or attempt.end is None else f"line {attempt.end['seq']}, {attempt.end['type']}"
    rows = [
        ("To be signed by", f"{identity} in the namespace {NAMESPACE}" if identity else "nobody: UNSIGNED"),
        ("Ledger", f"{len(ledger.entries)} lines, the last {ledger.head}"),
        ("Shown without a secret", f"{ledger.withheld} lines of the ledger; their digests are there"),
        ("Experiment", contents.story.experiment_sha256 or "—"),
        ("The site's log", f"{head.size} lines, the last {head.head}"),
        ("This run in the log", ended),
    ]
    shown = table(("What", "Value"), [(safe(name), tag("code", safe(value))) for name, value in rows])
    who = safe(identity or "IDENTITY")
    command = (
        f"ssh-keygen -Y verify -f allowed_signers -I '{who}' -n {NAMESPACE} -s SHA256SUMS.sig &lt; SHA256SUMS\n"
        f"sha256sum --strict -c SHA256SUMS\nsh verify.sh -f allowed_signers -i '{who}' -c YOUR-CHECKPOINT ."
    )
    said = tag("p", "A page can say anything. Check the files beside it, with tools that you have already:")
    return tag("section", tag("h2", "Integrity") + shown + tag("h3", "Check it") + said + tag("pre", command))


def limits() -> str:
    """Say what none of this shows."""
    items = (
        "That what the controller wrote was true when it wrote it: compare with the hosts' own records.",
        "That no drill is missing that is newer than the last checkpoint of the log which somebody else holds.",
        "When it was signed: a signature proves no time. The times are those of the controller's clock.",
        "That the service withstands other faults than these, or these under another load.",
    )
    listed = tag("ul", "".join(tag("li", item) for item in items), class_="plain")
    return tag("section", tag("h2", "What this evidence does not show") + listed)
