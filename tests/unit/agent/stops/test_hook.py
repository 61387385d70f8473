# SPDX-License-Identifier: Apache-2.0
"""A stop condition ends a lease on its host: the hook in the lease machine, with a file as the condition."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from chaosgpu.agent.process import Identity, alive, identity, process_tree
from support.agent_host import AgentHost, wait_until

WITHIN_S = 2.0  # from the trip to the undo


def file_exists(path: Path) -> dict[str, object]:
    return {"file_exists": {"path": str(path)}}


def keeper_and_watcher(host: AgentHost) -> tuple[Identity, Identity]:
    """Return the keeper, and its child that looks at the stop conditions, once it has one."""
    found: list[tuple[Identity, Identity]] = []

    def both() -> bool:
        trees = [process_tree(who.pid) for who in host.keepers()]
        found[:] = [(tree[0], tree[1]) for tree in trees if len(tree) > 1]
        return bool(found)

    wait_until(both)
    return found[0]


def watcher_of(host: AgentHost) -> Identity:
    return keeper_and_watcher(host)[1]


def ended(host: AgentHost, within_s: float = 10.0) -> tuple[str | None, str]:
    wait_until(lambda: host.state().state == "clean", within_s)
    wait_until(lambda: not host.residue())
    return host.state().ended_by, host.state().reason or ""


def test_a_condition_that_comes_true_ends_the_lease_within_two_seconds(host: AgentHost, tmp_path: Path) -> None:
    stop = tmp_path / "stop"
    assert host.apply(stop_when=file_exists(stop))["state"] == "active"
    watcher_of(host)
    stop.touch()
    took_s = wait_until(lambda: not host.broken(), WITHIN_S)
    assert took_s < WITHIN_S
    assert ended(host) == ("stop", f"its stop condition was met: the file {stop} exists")


def stays_broken(host: AgentHost, seconds: float = 2.3) -> None:
    """See that nothing ends it for longer than two looks take."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        assert host.broken()
        time.sleep(0.05)


def test_a_condition_that_stays_false_ends_nothing(host: AgentHost, tmp_path: Path) -> None:
    host.apply(stop_when=file_exists(tmp_path / "stop"))
    stays_broken(host)


def test_without_the_condition_the_same_file_ends_nothing(host: AgentHost, tmp_path: Path) -> None:
    host.apply()
    (tmp_path / "stop").touch()
    stays_broken(host)


def test_one_of_any_ends_it(host: AgentHost, tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    host.apply(stop_when={"any": [file_exists(one), file_exists(other)]})
    other.touch()
    assert ended(host) == ("stop", f"its stop condition was met: the file {other} exists")


def test_all_of_all_are_needed(host: AgentHost, tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.touch()
    host.apply(stop_when={"all": [file_exists(one), file_exists(other)]})
    stays_broken(host)
    other.touch()
    assert ended(host) == ("stop", f"its stop condition was met: the file {one} exists and the file {other} exists")


@pytest.mark.parametrize(
    ("stop_when", "kind", "says"),
    [
        ({"nonsense": {}}, "bad_request", "There is no stop condition 'nonsense'"),
        ({"file_exists": {}}, "bad_request", "path must be a text"),
        ({"file_exists": {"path": "/x", "pth": "/y"}}, "bad_request", "has no parameter pth"),
        ({"file_exists": "/x"}, "bad_request", "must be an object"),
        ({"any": []}, "bad_request", "at least one condition"),
        ({"any": {}, "all": []}, "bad_request", "A part of stop_when must be"),
        ({"any": [{"all": [7]}]}, "bad_request", "not 7"),
        ({"file_exists": {"path": "relative"}}, "refused", "takes a whole path"),
        ({"file_exists": {"path": "/proc/self/stat/x"}}, "refused", "cannot be read"),
        ({"file_exists": {"path": "/proc/self/stat"}}, "refused", "met before anything was touched"),
        ("text", "bad_request", "stop_when must be an object"),
    ],
)
def test_what_is_wrong_met_or_unreadable_at_the_start_refuses(
    host: AgentHost, stop_when: object, kind: str, says: str
) -> None:
    error: dict[str, Any] = host.apply(stop_when=stop_when)["error"]
    assert error["kind"] == kind
    assert says in error["message"]
    assert not host.residue()
    assert not (host.home / "leases/l1").exists()


def test_the_record_keeps_the_conditions(host: AgentHost, tmp_path: Path) -> None:
    stop_when = file_exists(tmp_path / "stop")
    host.apply(stop_when=stop_when)
    assert host.ask("record", lease="l1")["undo"]["stop_when"] == {"when": stop_when, "begun": [{}]}
    error = host.apply(stop_when=file_exists(tmp_path / "other"))["error"]
    assert "with other parameters" in error["message"]


def test_a_look_that_hangs_ends_the_lease(host: AgentHost, tmp_path: Path) -> None:
    host.apply(stop_when=file_exists(tmp_path / "stop"), ttl_s=20)
    os.kill(watcher_of(host).pid, signal.SIGSTOP)
    assert ended(host) == ("stop", "its stop conditions gave no reading in time, which counts as met")


def test_a_watcher_that_is_killed_comes_again_once(host: AgentHost, tmp_path: Path) -> None:
    host.apply(stop_when=file_exists(tmp_path / "stop"), ttl_s=20)
    first = watcher_of(host)
    host.kill(first)
    second = watcher_of(host)
    assert second != first
    assert host.broken()
    host.kill(second)
    assert ended(host) == ("stop", "the process that watches its stop conditions ended 2 times")


def test_the_watcher_holds_nothing_of_its_keeper_and_ends_with_it(host: AgentHost, tmp_path: Path) -> None:
    host.apply(stop_when=file_exists(tmp_path / "stop"))
    keeper, watcher = keeper_and_watcher(host)
    assert identity(watcher.pid) == watcher
    host.kill(keeper)
    wait_until(lambda: not alive(watcher))
    assert not host.lease_folder().kept()
    host.ask("list")  # brings the keeper back, and with it the watch
    stop = tmp_path / "stop"
    stop.touch()
    assert ended(host)[0] == "stop"
