# SPDX-License-Identifier: Apache-2.0
"""No descriptor and no process left, for real: limits of the kernel on the agent's own processes.

Whatever is short, and whenever: an apply is refused with a sentence before anything is touched or it is undone, nobody
calls a lease clean or stuck for what could not be looked at, and a keeper goes on as soon as it can.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chaosgpu.agent.process import process_tree
from support.agent_host import FILE, LOCK, AgentHost, wait_until
from support.limited import A_PLAIN_USER, AS_A_PLAIN_USER, Limited, limited

NO_SENTENCE_FOR_IT = ("mistake in the agent", "broke:", "held by")


@pytest.fixture
def short(host: AgentHost) -> Iterator[Limited]:
    with limited(host.home) as verbs:
        yield verbs


@pytest.fixture
def plain(host: AgentHost) -> Iterator[Limited]:
    """Run verbs as a plain user, whose host this is; it has no other process where the test may choose the user."""
    if AS_A_PLAIN_USER:
        for path in (host.folder, host.home, host.file):
            os.chown(path, A_PLAIN_USER, A_PLAIN_USER)
    with limited(host.home, plain=True) as verbs:
        yield verbs


def refused(host: AgentHost, answer: Any) -> None:
    """Nothing was touched, one sentence says why, and whatever was begun is gone or goes with a sweep."""
    if answer is not None:
        message = answer["error"]["message"]
        assert answer["error"]["kind"] in ("store", "short", "refused"), message
        assert not any(word in message for word in NO_SENTENCE_FOR_IT), message
    assert not host.broken()
    host.ask("sweep")
    wait_until(lambda: not host.residue())  # a keeper that is still there would count for the next


def processes_of(user: int) -> int:
    """Count what counts for a user's limit: zombies, too."""
    found = 0
    for folder in Path("/proc").iterdir():
        try:
            found += folder.name.isdigit() and folder.stat().st_uid == user
        except OSError:
            continue
    return found


def until_it_is_enough(host: AgentHost, verbs: Limited, fault: str, what: str, counts: range) -> list[str]:
    """Apply with more and more of what is short until it is enough; return what was told before."""
    told: list[str] = []
    for count in counts:
        if AS_A_PLAIN_USER:
            wait_until(lambda: processes_of(A_PLAIN_USER) <= 1, 30)  # an orphan counts until init has taken note of it
        lease = f"l{count}"
        answer = verbs.ask("apply", host.order(fault, lease), **{what: count})
        if answer is not None and answer.get("state") == "active":
            assert host.undo(lease)["state"] == "clean"
            wait_until(lambda: not host.residue())
            return told
        refused(host, answer)
        told.append("" if answer is None else answer["error"]["message"])
    raise AssertionError(f"no limit was enough: {told}")


@pytest.mark.parametrize("fault", [FILE, LOCK])
def test_an_apply_that_lacks_descriptors_is_refused_with_a_sentence(
    host: AgentHost, short: Limited, fault: str
) -> None:
    told = until_it_is_enough(host, short, fault, "files", range(3, 30))
    assert len(told) >= 8
    assert any(f"The fault {fault} lacked a free descriptor (`ulimit -n`)" in message for message in told)


@pytest.mark.parametrize("fault", [FILE, LOCK])
def test_an_apply_that_lacks_processes_is_refused_with_a_sentence(host: AgentHost, plain: Limited, fault: str) -> None:
    # A user with processes of their own needs as many more: those get none, and then enough.
    counts = range(1, 12) if AS_A_PLAIN_USER else range(1, 200_000, 100_000)
    told = until_it_is_enough(host, plain, fault, "processes", counts)
    assert f"The fault {fault} lacked a process (`ulimit -u`" in told[0]


@pytest.mark.parametrize(("verb", "fault"), [("undo", FILE), ("undo", LOCK), ("halt", FILE), ("sweep", FILE)])
def test_one_who_lacks_descriptors_undoes_or_leaves_it_to_the_host_and_never_says_stuck(
    host: AgentHost, short: Limited, verb: str, fault: str
) -> None:
    requests = {"undo": {"lease": "l1"}, "halt": {"by": "ann", "reason": "pager"}}
    host.apply(fault)
    for keeper in host.keepers():
        host.kill(keeper)
    if verb == "sweep":  # it is over, and nobody but a sweep is there to end it
        (host.folder / "run").mkdir(exist_ok=True)
        (host.folder / "run/HALT").touch()
    count, stands = 3, "active"
    while stands != "clean":
        answer = short.ask(verb, requests.get(verb, {}), files=count) or {}
        stands = host.state().state
        assert stands in ("active", "reverting", "clean")
        assert not [line for line in answer.get("leases", []) if line["state"] == "stuck"]
        count += 1
    assert count in range(6, 12)
    wait_until(lambda: not host.residue())


@pytest.mark.parametrize("free", [0, 1, 2])
def test_a_keeper_that_lacks_descriptors_undoes_as_soon_as_it_has_some(host: AgentHost, free: int) -> None:
    host.apply()
    [keeper] = host.keepers()
    own = len(list(Path(f"/proc/{keeper.pid}/fd").iterdir()))
    limit = ["prlimit", f"--pid={keeper.pid}"]
    subprocess.run([*limit, f"--nofile={own + free}:1024"], check=True, timeout=10)
    (host.folder / "run").mkdir(exist_ok=True)
    (host.folder / "run/HALT").touch()
    log = host.home / "leases/l1/keeper.log"
    wait_until(lambda: "Too many open files" in log.read_text() or host.state().state != "active")
    assert host.keepers() == [keeper]
    assert (host.state().state, host.broken()) in (("active", True), ("reverting", True))
    subprocess.run([*limit, "--nofile=1024:1024"], check=True, timeout=10)
    wait_until(lambda: host.state().state == "clean")
    wait_until(lambda: not host.residue())


def test_where_no_process_can_be_had_a_sweep_ends_all_that_have_lost_their_keepers(
    host: AgentHost, plain: Limited
) -> None:
    files = [host.file, host.folder / "other"]
    files[1].write_text("well")
    for lease, path in zip(("l1", "l2"), files, strict=True):
        if AS_A_PLAIN_USER:
            os.chown(path, A_PLAIN_USER, A_PLAIN_USER)
        answer = plain.ask("apply", {**host.order(FILE, lease), "params": {"path": str(path)}})
        assert answer["state"] == "active", answer
    for keeper in host.keepers():
        host.kill(keeper)
    lines = plain.ask("sweep", {}, processes=1)["leases"]
    assert [(line["lease"], line["state"]) for line in lines] == [("l1", "clean"), ("l2", "clean")]
    assert "no new one could be started" in lines[0]["reason"]
    assert [path.read_text() for path in files] == ["well", "well"]


LOOK = """
import os, resource
from chaosgpu.agent import process
from chaosgpu.agent.errors import Short
me = process.identity(os.getpid())
resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) - 1, 1024))
for look in (lambda: process.alive(me), lambda: process.tagged("X", "y"), lambda: process.process_tree(me.pid)):
    try:
        print("told:", look())
    except Short as error:
        print(error)
"""


def test_a_process_that_cannot_be_looked_at_is_not_told_as_ended() -> None:
    said = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=True, timeout=60).stdout
    assert said.count("Too many open files") == 3, said
    assert "told:" not in said


def test_a_keeper_that_cannot_watch_a_stop_condition_ends_the_lease(host: AgentHost, plain: Limited) -> None:
    order = {**host.order(), "stop_when": {"file_exists": {"path": str(host.folder / "stop")}}}
    assert plain.ask("apply", order)["state"] == "active"
    wait_until(lambda: len(host.keepers()) == 2)
    keeper, watcher = max((process_tree(who.pid) for who in host.keepers()), key=len)
    limit = [*AS_A_PLAIN_USER, "prlimit", f"--pid={keeper.pid}", "--nproc=1"]
    subprocess.run(limit, check=True, timeout=10)
    host.kill(watcher)
    wait_until(lambda: host.state().state == "clean")
    assert "could not be watched, which counts as met" in str(host.state().reason)
    wait_until(lambda: not host.residue())
