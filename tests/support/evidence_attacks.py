# SPDX-License-Identifier: Apache-2.0
"""What somebody does to evidence: each deed takes what is handed over and returns what it has become.

The scene: drills `old` (passed) and `bad` (deviated); the auditor is given a checkpoint; drill `new` (passed).
What is handed over are the bundles of all three, and the auditor asks for every run of the log.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from chaosgpu.evidence import register
from chaosgpu.evidence.checkpoint import head_of
from chaosgpu.evidence.entry import encode
from chaosgpu.evidence.kept import approved_for
from chaosgpu.evidence.keygen import sign
from chaosgpu.evidence.log import EvidenceLog, read_raw
from chaosgpu.evidence.log_rules import read_log
from chaosgpu.evidence.sums import NAMESPACE, SIGNATURE, SUMS, write_sums
from chaosgpu.fleet.values import JsonObject
from chaosgpu.lease.chain import FIRST, digest
from support.evidence_world import APPROVER, OPERATOR, SIGNER, World, public_of

NOBODY, OWN, INSIDER = "no key", "a key of his own", "the signing key"

type Files = dict[str, bytes | Path]


@dataclass(frozen=True)
class Handed:
    """What the auditor gets, and what he holds himself."""

    world: World
    bundles: dict[str, Files]
    kept: bytes
    runs: dict[str, str]


@dataclass(frozen=True)
class Attack:
    """One row of the table."""

    what: str
    holds: str
    do: Callable[[Handed], Handed]
    caught: bool = True


def scene(folder: Path) -> Handed:
    """Play the three drills."""
    world = World(folder)
    runs = {"old": world.drill("old"), "bad": world.drill("bad", "deviated")}
    kept = world.checkpoint()
    world.clock.wait(86400)
    runs["new"] = world.drill("new")
    return Handed(world, export_all(world, runs), kept, runs)


def export_all(world: World, runs: dict[str, str], key: str = SIGNER) -> dict[str, Files]:
    """Hand over a bundle for each run."""
    return {name: dict(world.export(run, key)) for name, run in runs.items()}


def copy(handed: Handed, folder: Path) -> Handed:
    """Give an attacker a site of his own to change."""
    shutil.copytree(handed.world.folder, folder, dirs_exist_ok=True)
    world = World(folder, type(handed.world.clock)(handed.world.clock.at))
    world.runs = {run: folder / "runs" / run for run in handed.world.runs}
    return replace(handed, world=world, bundles={name: dict(files) for name, files in handed.bundles.items()})


def within(handed: Handed, name: str, **changed: bytes | Path | None) -> Handed:
    """Change files of one bundle; names have `__` for `/` and `_dot_` for `.`."""
    files = dict(handed.bundles[name])
    for key, content in changed.items():
        path = key.replace("__", "/").replace("_dot_", ".")
        if content is None:
            files.pop(path)
        else:
            files[path] = content
    return replace(handed, bundles={**handed.bundles, name: files})


def edit(path: str, change: Callable[[bytes], bytes], name: str = "bad") -> Callable[[Handed], Handed]:
    """Change the content of one file, and nothing else."""

    def do(handed: Handed) -> Handed:
        before = handed.bundles[name][path]
        assert isinstance(before, bytes)
        after = change(before)
        assert after != before, path
        return replace(handed, bundles={**handed.bundles, name: {**handed.bundles[name], path: after}})

    return do


def swap(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    return lambda content: content.replace(old, new)


def _resum(handed: Handed, name: str, key: str | None = None) -> Handed:
    """Put SHA256SUMS right, and sign it where there is a key."""
    files = handed.bundles[name]
    plain = {one: content for one, content in files.items() if isinstance(content, bytes)}
    sums = write_sums({one: content for one, content in plain.items() if one not in (SUMS, SIGNATURE)})
    signature = plain[SIGNATURE] if key is None else sign(sums, handed.world.keys[key], NAMESPACE)
    return replace(handed, bundles={**handed.bundles, name: {**files, SUMS: sums, SIGNATURE: signature}})


def then_resum(do: Callable[[Handed], Handed], key: str | None = None) -> Callable[[Handed], Handed]:
    def both(handed: Handed) -> Handed:
        changed = do(handed)
        for name in changed.bundles:
            changed = _resum(changed, name, key)
        return changed

    return both


def rechain(entries: list[JsonObject]) -> bytes:
    """Write entries as a log that holds."""
    lines, before = [], FIRST
    for number, entry in enumerate(entries, start=1):
        line = encode({**entry, "seq": number, "prev": before})
        lines.append(line + b"\n")
        before = digest(line)
    return b"".join(lines)


def _entries(handed: Handed) -> list[JsonObject]:
    return [*read_log(*read_raw(handed.world.site)).entries]


def log_in_all(change: Callable[[bytes], bytes]) -> Callable[[Handed], Handed]:
    """Change the log in each bundle, with SHA256SUMS put right and the old signature left."""

    def do(handed: Handed) -> Handed:
        for name in handed.bundles:
            handed = _resum(edit("log.jsonl", change, name)(handed), name)
        return handed

    return do


def lines(change: Callable[[list[bytes]], list[bytes]]) -> Callable[[bytes], bytes]:
    return lambda content: b"".join(line + b"\n" for line in change(content.splitlines()))


def forged(
    change: Callable[[list[JsonObject]], list[JsonObject]], *, leave_out: str = ""
) -> Callable[[Handed], Handed]:
    """Write the site's log anew and export everything again with the signing key."""

    def do(handed: Handed) -> Handed:
        (handed.world.site / "log.jsonl").write_bytes(rechain(change(_entries(handed))))
        runs = {name: run for name, run in handed.runs.items() if name != leave_out}
        return replace(handed, bundles=export_all(handed.world, runs))

    return do


def without(drill: str) -> Callable[[list[JsonObject]], list[JsonObject]]:
    return lambda entries: [entry for entry in entries if entry["drill"] != drill]


def reordered(content: bytes) -> bytes:
    entries = [json.loads(line) for line in content.splitlines()]
    old = [entry for entry in entries if entry["drill"] == "old"]
    return rechain([*(entry for entry in entries if entry["drill"] != "old"), *old])


def append_forged(content: bytes) -> bytes:
    entries = [json.loads(line) for line in content.splitlines()]
    again = {**entries[0], "at": entries[-1]["at"], "drill": "good"}
    return rechain([*entries, again])


def one_more(handed: Handed) -> Handed:
    """Hand over a run that no drill knows of."""
    run = handed.world.run("nobody planned this")
    return replace(handed, bundles={**handed.bundles, "extra": dict(handed.world.export(run))})


def ledgers_swapped(handed: Handed) -> Handed:
    one, other = "run/ledger.jsonl", handed.bundles
    old = {**other["old"], one: other["bad"][one]}
    bad = {**other["bad"], one: other["old"][one]}
    return replace(handed, bundles={**other, "old": old, "bad": bad})


def rolled_back(handed: Handed) -> Handed:
    """Hand over genuine bundles of an earlier day, before the checkpoint that the auditor holds."""
    lines = (handed.world.site / "log.jsonl").read_bytes().splitlines(keepends=True)
    earlier = [line for line in lines if b'"drill": "old"' in line]
    (handed.world.site / "log.jsonl").write_bytes(b"".join(earlier))
    return replace(handed, bundles=export_all(handed.world, {"old": handed.runs["old"]}))


def wrong_namespace(handed: Handed) -> Handed:
    """Let the approver's signature over evidence count as an approval."""
    world = handed.world
    world.allowed.write_text(world.allowed.read_text().replace("chaosgpu-approval-v1", "chaosgpu-*"))
    run = world.drill("sly", namespace=NAMESPACE)
    return replace(handed, bundles=export_all(world, {**handed.runs, "sly": run}))


def approval_dropped(handed: Handed) -> Handed:
    world = handed.world
    approved = approved_for(world.site, read_log(*read_raw(world.site)), world.runs[handed.runs["new"]], None)
    assert approved is not None
    without = replace(approved, signatures=())
    files: Files = dict(world.export(handed.runs["new"], SIGNER, without))
    return replace(handed, bundles={**handed.bundles, "new": files})


def own_approval(handed: Handed) -> Handed:
    """Let the operator approve his own drill: his key is an approver's for others."""
    world = handed.world
    world.keys[OPERATOR] = world.keys[APPROVER]
    with world.allowed.open("a") as file:
        file.write(f'{OPERATOR} namespaces="chaosgpu-approval-v1" {public_of(world.keys[APPROVER])}\n')
    run = world.drill("mine", by=OPERATOR)
    return replace(handed, bundles=export_all(world, {**handed.runs, "mine": run}))


def reused_approval(handed: Handed) -> Handed:
    """Put the approval of another drill beside a plan."""
    world = handed.world
    log = read_log(*read_raw(world.site))
    other = approved_for(world.site, log, world.runs[handed.runs["old"]], None)
    mine = approved_for(world.site, log, world.runs[handed.runs["new"]], None)
    assert other is not None
    assert mine is not None
    files: Files = dict(world.export(handed.runs["new"], SIGNER, replace(other, plan=mine.plan)))
    return replace(handed, bundles={**handed.bundles, "new": files})


def other_plan(handed: Handed) -> Handed:
    world = handed.world
    mine = approved_for(world.site, read_log(*read_raw(world.site)), world.runs[handed.runs["new"]], None)
    assert mine is not None
    files: Files = dict(world.export(handed.runs["new"], SIGNER, replace(mine, plan=mine.plan + b"blast_radius: 99\n")))
    return replace(handed, bundles={**handed.bundles, "new": files})


def hosts_swapped(handed: Handed) -> Handed:
    files = handed.bundles["bad"]
    one, other = "run/hosts/gpu1/after.json", "run/hosts/gpu2/after.json"
    return replace(handed, bundles={**handed.bundles, "bad": {**files, one: files[other], other: files[one]}})


def started_anchored(handed: Handed) -> Handed:
    """Take the newest drill out, of whose start the auditor was sent the checkpoint."""
    entries = _entries(handed)
    place = next(
        number for number, entry in enumerate(entries) if entry["drill"] == "new" and entry["type"] == "started"
    )
    lines = rechain(entries[: place + 1]).splitlines()
    kept = head_of(read_log(lines)).write()
    return replace(forged(without("new"), leave_out="new")(handed), kept=kept)


def rewritten(entries: list[JsonObject]) -> list[JsonObject]:
    return [
        {**entry, "verdict": "passed", "reason": "it passed"}
        if entry["type"] == "finished" and entry["drill"] == "bad"
        else entry
        for entry in entries
    ]


def played_again(handed: Handed) -> Handed:
    """Play the failed drill again until it passes, and take the first attempt out of the log and the hand-over."""
    world = handed.world
    lines = [line for line in _entries(handed) if line["attempt"] != "bad-1"]
    (world.site / "log.jsonl").write_bytes(rechain(lines))
    log = EvidenceLog(world.site, world.clock)
    plan_sha256 = next(
        str(entry["plan_sha256"]) for entry in lines if entry["type"] == "planned" and entry["drill"] == "bad"
    )
    register.started(log, "bad", "bad-2", plan_sha256)
    run = world.run("bad")
    register.finished(log, "bad", "bad-2", world.runs[run])
    return replace(handed, bundles=export_all(world, {**handed.runs, "bad": run}))


def expired(handed: Handed) -> Handed:
    """Sign everything with a key whose time was over before."""
    world = handed.world
    world.allowed.write_text(world.allowed.read_text().replace(f"{SIGNER} ", f'{SIGNER} valid-before="20200101",', 1))
    return handed


def bad_names(handed: Handed) -> Handed:
    """Have SHA256SUMS name a file outside the bundle."""
    files = handed.bundles["bad"]
    sums = files[SUMS]
    assert isinstance(sums, bytes)
    outside = digest(handed.world.allowed.read_bytes())
    changed: Files = {**files, SUMS: sums + f"{outside}  ../allowed_signers\n".encode()}
    signature = sign(bytes(changed[SUMS]), handed.world.keys[SIGNER], NAMESPACE)
    return replace(handed, bundles={**handed.bundles, "bad": {**changed, SIGNATURE: signature}})


def journal_says(verdict: bytes) -> Callable[[Handed], Handed]:
    return then_resum(
        edit("run/journal.json", swap(b'"verdict": "deviated"', b'"verdict": "' + verdict + b'"')), SIGNER
    )
