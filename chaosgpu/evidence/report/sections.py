# SPDX-License-Identifier: Apache-2.0
"""What the record lacks, the figures at a glance, how safe the run was, what did not go well, and the hosts."""

from collections.abc import Sequence

from chaosgpu.evidence.cases import Case
from chaosgpu.evidence.contents import Contents, read_json
from chaosgpu.evidence.difference import differences
from chaosgpu.evidence.report.span import Window, seconds_of
from chaosgpu.evidence.report.text import brief, duration, safe, table, tag
from chaosgpu.evidence.story import LeaseTimes, Story

__all__ = ["deficiencies", "hosts", "key_facts", "lacking", "safety", "unsigned"]

_MOST_LEAVES = 40


def unsigned(contents: Contents) -> str:
    """Say loudly that nobody signed."""
    if contents.export.get("identity"):
        return ""
    said = "This bundle is <b>UNSIGNED</b>. Anybody could have written all of it; it proves nothing to others."
    return tag("section", tag("h2", "Unsigned") + tag("p", said), class_="loud")


def lacking(sentences: Sequence[str]) -> str:
    """List what is missing."""
    if not sentences:
        return ""
    items = "".join(tag("li", safe(sentence)) for sentence in sentences)
    return tag("section", tag("h2", "What this record lacks") + tag("ul", items, class_="plain"), class_="lacks")


def key_facts(contents: Contents, windows: Sequence[Window]) -> str:
    """Show the run at a glance."""
    story = contents.story
    start, end = seconds_of(story.started or story.planned), seconds_of(story.finished or story.last)
    lasted = end - start if start is not None and end is not None else None
    back = sum(lease.state == "clean" for lease in story.leases)
    facts = [
        ("Hosts", str(len(contents.hosts)), ""),
        ("Faults put in", str(sum(lease.active is not None for lease in story.leases)), ""),
        ("Put back", f"{back} of {len(story.leases)}", ""),
        ("Time under fault", duration(sum(one.end_s - one.start_s for one in windows)), ""),
        ("The run took", duration(lasted), ""),
        ("Run", contents.run, "small wide"),
    ]
    attempt = contents.attempt
    if story.change_id is not None:
        facts.insert(0, ("Change", story.change_id, "small"))
    if attempt is not None:
        facts.insert(0, ("Drill", attempt.drill, "small"))
        approvers = ", ".join(str(entry["by"]) for entry in contents.approvals)
        facts.insert(1, ("Approved by", approvers or "nobody", "small"))
    body = "".join(
        tag("div", tag("dt", safe(name)) + tag("dd", safe(value)), **({"class_": kind} if kind else {}))
        for name, value, kind in facts
    )
    return tag("section", tag("h2", "At a glance") + tag("dl", body, class_="facts"))


def safety(contents: Contents) -> str:
    """Say how every fault was bounded and how fast it was put back."""
    story = contents.story
    undone = [found for lease in story.leases if (found := _undo_s(lease)) is not None]
    longest = max((lease.max_duration_s or 0.0 for lease in story.leases), default=0.0)
    stuck = [lease for lease in story.leases if lease.state == "stuck"]
    open_ones = [lease for lease in story.leases if lease.open and lease.state != "stuck"]
    attempt = contents.attempt
    residue = "not in a log" if attempt is None else str(attempt.residue)
    rows = [
        ("Longest time that a host would have let a fault stay by itself", duration(longest) if longest else "—"),
        ("From the order to undo until the host said that it was done, longest", duration(max(undone, default=None))),
        ("Faults that were not put back (stuck)", str(len(stuck))),
        ("Faults whose end is not recorded", str(len(open_ones))),
        ("Residue on hosts, noted in the site's log", residue),
        ("Faults whose approval their host judged itself", _judged(story)),
        ("Stop signals", ", ".join(story.signals) or "none"),
        ("Undone by", ", ".join(sorted({lease.ended_by for lease in story.leases if lease.ended_by})) or "—"),
    ]
    return tag("section", tag("h2", "Safety") + table(("What", "Found"), [(safe(a), safe(b)) for a, b in rows]))


def _judged(story: Story) -> str:
    """Say how many faults a host has let in by an approval, and by whose."""
    judged = [lease for lease in story.leases if lease.approved_by]
    by = ", ".join(sorted({name for lease in judged for name in lease.approved_by}))
    return f"{len(judged)} of {len(story.leases)}, approved by {by}" if judged else "none: no host demanded one"


def _undo_s(lease: LeaseTimes) -> float | None:
    start, end = seconds_of(lease.reverting), seconds_of(lease.ended)
    return None if start is None or end is None else max(0.0, end - start)


def deficiencies(every: Sequence[Case]) -> str:
    """List each claim that does not hold, or that nobody knows of."""
    rows = [
        (tag("span", "✗ no", class_="bad") if case.holds is False else tag("span", "? unknown", class_="unknown"),
         safe(case.name), safe(case.said))
        for case in every
        if case.holds is not True
    ]  # fmt: skip
    held = len(every) - len(rows)
    said = tag("p", f"{held} of {len(every)} claims hold. Each is a test case in junit.xml.", class_="soft")
    shown = table(("Holds", "Claim", "Why"), rows) if rows else tag("p", "None.")
    return tag("section", tag("h2", "Deficiencies") + said + shown)


def hosts(contents: Contents) -> str:
    """Show of each host whether it is as it was."""
    groups: dict[tuple[str, str], list[str]] = {}
    for folder, host in contents.hosts.items():
        for before, after in (("baseline", "restored"), ("before", "after")):
            place = f"run/hosts/{folder}"
            old, new = (read_json(contents.files, f"{place}/{name}.json") for name in (before, after))
            if old is None or new is None:
                continue
            found = differences(old, new)
            same = tag("span", "✓ nothing", class_="ok") if not found else _leaves(found)
            groups.setdefault((f"{before} and {after}", same), []).append(host)
    rows = [(safe(", ".join(names)), compared, same) for (compared, same), names in groups.items()]
    if not rows:
        return ""
    return tag(
        "section", tag("h2", "Hosts: what is different afterwards") + table(("Hosts", "Compared", "Different"), rows)
    )


def _leaves(found: Sequence[object]) -> str:
    """List what differs."""
    items = [
        tag("li", f"<code>{safe(one.get('path'))}</code> {safe(brief(one.get('before', 'absent')))} → "
            f"{safe(brief(one.get('after', 'absent')))}")
        for one in found[:_MOST_LEAVES]
        if isinstance(one, dict)
    ]  # fmt: skip
    more = tag("li", f"and {len(found) - _MOST_LEAVES} more") if len(found) > _MOST_LEAVES else ""
    return tag("span", f"{len(found)} values", class_="unknown") + tag("ul", "".join(items) + more, class_="plain")
