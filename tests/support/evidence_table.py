# SPDX-License-Identifier: Apache-2.0
"""The tamper table: a row is what somebody does to evidence, by what he holds, and whether it can be seen at all."""

import json
from dataclasses import replace

from chaosgpu.evidence.sums import SIGNATURE
from support.evidence_attacks import (
    INSIDER,
    NOBODY,
    OWN,
    Attack,
    append_forged,
    approval_dropped,
    bad_names,
    edit,
    expired,
    export_all,
    forged,
    hosts_swapped,
    journal_says,
    ledgers_swapped,
    lines,
    log_in_all,
    one_more,
    other_plan,
    own_approval,
    played_again,
    rechain,
    reordered,
    reused_approval,
    rewritten,
    rolled_back,
    started_anchored,
    swap,
    then_resum,
    within,
    without,
    wrong_namespace,
)
from support.evidence_world import SIGNER, STRANGER

THIRTY: tuple[Attack, ...] = (
    Attack("the journal is edited", NOBODY, edit("run/journal.json", swap(b"deviated", b"passed"))),
    Attack("the report is edited", NOBODY, edit("report.html", swap(b"deviated", b"passed"))),
    Attack("the ledger is cut short", NOBODY, edit("run/ledger.jsonl", lambda content: content[: len(content) // 2])),
    Attack("a file is deleted", NOBODY, lambda handed: within(handed, "bad", run__hosts__gpu1__after_dot_json=None)),
    Attack("a file is added", NOBODY, lambda handed: within(handed, "bad", run__note_dot_txt=b"all is well\n")),
    Attack("a hidden file is added", NOBODY, lambda handed: within(handed, "bad", _dot_note=b"all is well\n")),
    Attack(
        "a link takes the place of a file",
        NOBODY,
        lambda handed: within(handed, "bad", report_dot_html=handed.world.allowed),
    ),
    Attack(
        "a file is edited and SHA256SUMS is put right",
        NOBODY,
        then_resum(edit("run/journal.json", swap(b"deviated", b"passed"))),
    ),
    Attack("line ends become those of another system", NOBODY, edit("leases.json", swap(b"\n", b"\r\n"))),
    Attack(
        "the bundle of the failed drill is left out",
        NOBODY,
        lambda handed: replace(handed, bundles={name: one for name, one in handed.bundles.items() if name != "bad"}),
    ),
    Attack("the bundle of a run that is in no log is put in", NOBODY, one_more),
    Attack(
        "the bundle of a drill that passed is handed over for the one that failed",
        NOBODY,
        lambda handed: replace(handed, bundles={**handed.bundles, "bad": handed.bundles["old"]}),
    ),
    Attack("the ledgers of two bundles are swapped", NOBODY, ledgers_swapped),
    Attack("an entry is taken out of the log", NOBODY, log_in_all(lines(lambda lines: [*lines[:5], *lines[6:]]))),
    Attack(
        "an entry is taken out of the log and the rest is chained anew",
        NOBODY,
        log_in_all(lambda content: rechain([json.loads(line) for line in content.splitlines()[1:]])),
    ),
    Attack(
        "two entries of the log change places",
        NOBODY,
        log_in_all(lines(lambda lines: [lines[1], lines[0], *lines[2:]])),
    ),
    Attack("the drills in the log are put into another order and chained anew", NOBODY, log_in_all(reordered)),
    Attack("the end of the log is cut off", NOBODY, log_in_all(lines(lambda lines: lines[:-2]))),
    Attack("a forged entry is put behind the log", NOBODY, log_in_all(append_forged)),
    Attack("genuine bundles from before the checkpoint are handed over again", NOBODY, rolled_back),
    Attack("the in-toto statement is edited", NOBODY, edit("statement.json", swap(b"FAILED", b"PASSED"))),
    Attack(
        "the signature of another bundle is put in",
        NOBODY,
        lambda handed: within(handed, "bad", SHA256SUMS_dot_sig=handed.bundles["old"][SIGNATURE]),
    ),
    Attack("a signature that was made over evidence is used as an approval", NOBODY, wrong_namespace),
    Attack("an approval is left out", NOBODY, approval_dropped),
    Attack(
        "everything is signed anew by somebody else",
        OWN,
        lambda handed: replace(handed, bundles=export_all(handed.world, handed.runs, STRANGER)),
    ),
    Attack("the verdict of an old drill is rewritten, and all is chained and signed anew", INSIDER, forged(rewritten)),
    Attack("an old drill that failed is taken out of everything", INSIDER, forged(without("bad"), leave_out="bad")),
    Attack(
        "only the end of the newest drill is taken out",
        INSIDER,
        forged(lambda entries: entries[:-1], leave_out="new"),
    ),
    Attack(
        "a whole drill that is newer than the last checkpoint is taken out",
        INSIDER,
        forged(without("new"), leave_out="new"),
        caught=False,
    ),
    Attack("the same, and the checkpoint behind its start had been given away", INSIDER, started_anchored),
)

MORE: tuple[Attack, ...] = (
    Attack("the failed drill is played again and its first attempt taken out", INSIDER, played_again),
    Attack("the operator approves his own drill", INSIDER, own_approval),
    Attack("the approval of another drill is put beside the plan", INSIDER, reused_approval),
    Attack("the plan is changed after it was approved", INSIDER, other_plan),
    Attack("the journal is given another verdict and signed anew", INSIDER, journal_says(b"passed")),
    Attack(
        "a key stands twice in an entry of the log, signed anew",
        INSIDER,
        then_resum(edit("log.jsonl", lines(lambda lines: [lines[0][:-1] + b', "drill": "x"}', *lines[1:]])), SIGNER),
    ),
    Attack(
        "a line of the ledger is edited and signed anew",
        INSIDER,
        then_resum(edit("run/ledger.jsonl", swap(b'"met": false', b'"met": true')), SIGNER),
    ),
    Attack("the readings of two hosts change places", NOBODY, hosts_swapped),
    Attack("the series of a metric is edited", NOBODY, edit("run/series/watch-chat-1.jsonl", swap(b"false", b"true"))),
    Attack("SHA256SUMS names a file outside the bundle, signed anew", INSIDER, bad_names),
    Attack("the key that signed had expired", OWN, expired),
    Attack("the signature is taken out", NOBODY, lambda handed: within(handed, "bad", SHA256SUMS_dot_sig=None)),
    Attack(
        "a line is put behind the signature",
        NOBODY,
        edit(SIGNATURE, lambda content: content + b"\n"),
    ),
    Attack("the list of digests is taken out", NOBODY, lambda handed: within(handed, "bad", SHA256SUMS=None)),
)
