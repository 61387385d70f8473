# SPDX-License-Identifier: Apache-2.0
"""What was fetched for a lease goes with the next sweep when nobody can need it any more, and never before."""

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from chaosgpu.agent.claims import Claims
from chaosgpu.agent.clock import SystemClock
from chaosgpu.agent.errors import Refused
from chaosgpu.agent.fetched import fetching
from support.agent_host import AgentHost, wait_until
from unit.agent.test_prune import sweep

SWEEPS = ("sweep", "tend")


def fetched(host: AgentHost, lease: str = "l1") -> Path:
    """Have package files lie there, as if they had been fetched for this lease."""
    return _files(host.home / "packages" / lease)


def _files(folder: Path) -> Path:
    for name in ("before/old.deb", "after/new.deb", "tmp/dpkg-deb.x1/control"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text("a package")
    return folder


def killed_while_it_fetched(host: AgentHost) -> Path:
    """Kill an apply that has no undo record yet; nobody is left who would put back for it."""
    child = host.start("apply", {"protocol": 1, **host.order(breaks="capture:kill")})
    assert host.finish(child) == {"status": -9}
    assert (host.state().state, host.keepers()) == ("reserved", [])
    assert not (host.home / "leases/l1/undo").exists()
    return fetched(host)


def swept(host: AgentHost, verb: str) -> None:
    child = host.start(verb, {"protocol": 1})
    child.communicate(timeout=60)
    assert child.returncode == 0


@pytest.mark.parametrize("verb", SWEEPS)
def test_a_kill_before_the_undo_record_leaves_nothing_that_was_fetched_once_the_host_has_swept(
    host: AgentHost, verb: str
) -> None:
    folder = killed_while_it_fetched(host)
    swept(host, verb)
    assert (host.state().state, host.state().ended_by) == ("clean", "abandoned")
    assert not folder.exists()


def test_a_sweep_that_does_not_look_there_leaves_it(host: AgentHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control."""
    monkeypatch.setattr("chaosgpu.agent.prune.forget_fetched", lambda _: [])
    folder = killed_while_it_fetched(host)
    host.ask("sweep")
    assert host.state().state == "clean"
    assert (folder / "before/old.deb").exists()


def test_what_a_lease_that_is_being_applied_has_fetched_stays_at_each_of_its_steps(host: AgentHost) -> None:
    folder, there = fetched(host), {}

    def step(name: str) -> None:
        if name not in there and host.state().state in ("reserved", "armed", "active"):
            there[name] = False  # a sweep has steps of its own
            host.ask("sweep")
            there[name] = (folder / "before/old.deb").exists()

    assert host.tell("apply", {"protocol": 1, **host.order()}, step=step)["state"] == "active"
    assert {"reserved", "claimed", "captured", "undo written", "armed", "injected", "verified", "active"} <= set(there)
    assert all(there.values()), there


def _active(host: AgentHost) -> None:
    assert host.apply()["state"] == "active"


def _stuck(host: AgentHost) -> None:
    host.apply(breaks="undo:fail")
    assert host.undo()["state"] == "stuck"


def _reverting(host: AgentHost) -> None:
    host.apply(breaks="undo:slow")
    assert host.undo()["state"] == "reverting"


def _damaged(host: AgentHost) -> None:
    host.apply()
    host.undo()
    state = host.home / "leases/l1/state"
    state.write_bytes(b"x" * state.stat().st_size)


@pytest.mark.parametrize("stands", [_active, _stuck, _reverting, _damaged])
def test_what_an_open_lease_needs_for_its_way_back_stays(host: AgentHost, stands: Callable[[AgentHost], None]) -> None:
    stands(host)
    folder = fetched(host)
    host.ask("sweep")
    assert (folder / "before/old.deb").exists()


def test_nothing_goes_while_somebody_fetches_and_nobody_fetches_while_it_goes(host: AgentHost) -> None:
    folder = killed_while_it_fetched(host)
    with fetching(str(host.home)):
        host.ask("sweep")
        assert (host.state().state, folder.exists()) == ("clean", True)
        with pytest.raises(Refused, match="are fetched or removed by another process"):
            fetching(str(host.home), 0.0).__enter__()
    host.ask("sweep")
    assert not folder.exists()


def test_a_removal_that_was_broken_off_is_finished_by_the_next_sweep(
    host: AgentHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken_off(folder: str) -> None:
        Path(folder, "before/old.deb").unlink()
        raise OSError(errno.EIO, "Input/output error")

    folder = killed_while_it_fetched(host)
    monkeypatch.setattr("shutil.rmtree", broken_off)
    assert host.ask("sweep")["status"] == 0
    assert (folder / "after/new.deb").exists()
    monkeypatch.undo()
    host.ask("sweep")
    assert not folder.exists()


def test_a_lease_that_was_undone_while_it_fetched_leaves_nothing(host: AgentHost) -> None:
    killed_while_it_fetched(host)
    assert host.undo()["state"] == "clean"
    host.ask("sweep")
    assert list((host.home / "packages").iterdir()) == []


def test_what_tells_how_the_host_was_stays_as_long_as_the_record_of_its_lease(host: AgentHost) -> None:
    host.apply()
    host.undo()
    wait_until(lambda: not host.keepers())
    folder = host.home / "packages/l1"
    folder.mkdir(parents=True)
    (folder / "snapshot").write_text("how it was")
    sweep(host, 29.0)
    assert (folder / "snapshot").exists()
    sweep(host, 30.1)
    assert not folder.exists()


def test_of_a_lease_without_a_record_it_goes_unless_the_packages_are_still_claimed(host: AgentHost) -> None:
    folder = fetched(host, "forgotten")
    claim = Path(Claims(str(host.folder), SystemClock()).path("dpkg:database"))
    claim.write_text("")  # nobody can read whose it is
    host.ask("sweep")
    assert folder.exists()
    claim.unlink()
    host.ask("sweep")
    assert not folder.exists()


def test_what_is_no_leases_is_not_touched(host: AgentHost, tmp_path: Path) -> None:
    theirs, kept = _files(tmp_path / "theirs"), fetched(host)
    packages, drill = host.home / "packages", host.home / "lifecycle" / "drill"
    drill.mkdir(parents=True)
    (drill / "snapshot").write_text("of a drill")
    (packages / "link").symlink_to(theirs)
    (packages / ".hidden").mkdir()
    (packages / "file").write_text("")
    host.ask("sweep")
    assert not kept.exists()  # the control
    assert sorted(path.name for path in packages.iterdir()) == [".hidden", "file", "link"]
    assert (theirs / "before/old.deb").exists()
    assert (drill / "snapshot").exists()
