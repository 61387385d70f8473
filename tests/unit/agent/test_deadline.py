# SPDX-License-Identifier: Apache-2.0
"""The host ends a lease by itself: the keeper, and what happens when keeper or holder are killed."""

import contextlib
import os
import signal
import time
from pathlib import Path

import pytest

from chaosgpu.agent.process import alive
from support.agent_host import FILE, LOCK, AgentHost, wait_until


@pytest.mark.parametrize("fault", [FILE, LOCK])
def test_the_keeper_ends_the_lease_at_its_deadline(host: AgentHost, fault: str) -> None:
    expires_in_s = host.apply(fault, ttl_s=0.8)["expires_in_s"]
    assert host.broken()
    took_s = wait_until(lambda: host.state().state == "clean")
    assert took_s - expires_in_s < 1.0
    assert (host.state().ended_by, host.state().reason) == ("deadline", "its time was over")
    wait_until(lambda: not host.residue())


def test_without_a_keeper_the_fault_stays_until_a_sweep(host: AgentHost) -> None:
    host.apply(ttl_s=0.4)
    host.kill(host.keepers()[0])
    wait_until(host.over)
    assert host.broken()  # the control: nobody else ends it
    [line] = host.ask("sweep")["leases"]
    assert (line["state"], line["ended_by"]) == ("clean", "deadline")
    assert not host.residue()


@pytest.mark.parametrize("verb", ["list", "sweep"])
def test_a_live_lease_that_lost_its_keeper_gets_a_new_one(host: AgentHost, verb: str) -> None:
    host.apply(ttl_s=3)
    [first] = host.keepers()
    host.kill(first)
    host.ask(verb)
    [second] = host.keepers()
    assert second != first
    assert host.state().state == "active"


def test_an_apply_on_the_same_claim_ends_a_lease_that_is_over(host: AgentHost) -> None:
    host.apply(lease="old", ttl_s=1)
    host.kill(host.keepers()[0])
    assert host.apply(lease="new")["error"]["kind"] == "claimed"  # it is still live, and has its keeper back
    host.kill(host.keepers()[0])
    wait_until(lambda: host.over("old"))
    assert host.apply(lease="new")["state"] == "active"
    assert host.state("old").state == "clean"


def test_a_killed_holder_ends_the_lease_and_the_record_says_so(host: AgentHost) -> None:
    host.apply(LOCK)
    host.kill(host.holders()[0])
    wait_until(lambda: host.state().state == "clean")
    assert host.state().ended_by == "holder_died"
    wait_until(lambda: not host.residue())


def test_a_holder_that_leaves_early_ends_the_lease(host: AgentHost) -> None:
    host.apply(LOCK, breaks="leave")
    wait_until(lambda: host.state().ended_by == "holder_died")


def test_a_holder_ends_itself_at_the_deadline_without_any_keeper(host: AgentHost) -> None:
    host.apply(LOCK, ttl_s=0.5)
    host.kill(host.keepers()[0])
    wait_until(lambda: not host.holders(), within_s=4)
    assert host.state().state == "active"  # nobody has told the record yet
    assert host.ask("sweep")["leases"][0]["state"] == "clean"


def test_a_holder_whose_pid_nobody_wrote_down_is_found_by_its_tag(host: AgentHost) -> None:
    host.apply(LOCK)
    [holder] = host.holders()
    folder, state = host.lease_folder(), host.state()
    folder.save(type(state)(**{**vars(state), "holder": None}))
    assert host.undo()["state"] == "clean"
    assert not alive(holder)


def test_a_lease_that_is_over_before_all_is_prepared_is_not_injected(host: AgentHost) -> None:
    def slow(step: str) -> None:
        if step == "armed":
            host.kill(host.keepers()[0])
            wait_until(host.over)

    answer = host.tell("apply", {"protocol": 1, **host.order(ttl_s=0.4)}, step=slow)
    assert answer["error"]["kind"] == "refused"
    assert "longer ttl_s" in answer["error"]["message"]
    assert not host.residue()


def test_a_holder_that_never_looks_is_ended_all_the_same(host: AgentHost) -> None:
    host.apply(LOCK, ttl_s=0.5, breaks="blind")
    host.kill(host.keepers()[0])
    wait_until(lambda: not host.holders(), within_s=5)


def test_a_holder_ends_when_its_record_is_gone(host: AgentHost) -> None:
    host.apply(LOCK)
    (host.home / "leases/l1/state").unlink()
    wait_until(lambda: not host.holders() and not host.keepers(), within_s=4)


def test_a_stopped_holder_is_ended(host: AgentHost) -> None:
    host.apply(LOCK, ttl_s=0.5)
    os.kill(host.holders()[0].pid, signal.SIGSTOP)
    wait_until(lambda: host.state().state == "clean")


def test_renewal_moves_the_deadline_and_stops_at_the_hard_end(host: AgentHost) -> None:
    host.apply(ttl_s=0.6, max_duration_s=1.2)
    [line] = host.ask("renew", run="r1", ttl_s=30)["leases"]
    assert line["state"] == "active"
    assert 0.5 < line["expires_in_s"] <= 1.2
    assert host.state().renewals == 1
    took_s = wait_until(lambda: host.state().state == "clean")
    assert took_s > 0.6


def test_without_renewal_it_would_have_ended(host: AgentHost) -> None:
    host.apply(ttl_s=0.6, max_duration_s=1.2)
    assert wait_until(lambda: host.state().state == "clean") < 0.9


def test_renew_never_revives_one_that_is_not_active(host: AgentHost) -> None:
    host.apply()
    host.undo()
    lines = host.ask("renew", leases=["l1", "unknown"], ttl_s=30)["leases"]
    assert [(line["state"], line["expires_in_s"]) for line in lines] == [("clean", 0.0), ("unknown", 0.0)]


def test_renew_does_not_revive_one_whose_time_is_over(host: AgentHost) -> None:
    host.apply(ttl_s=0.4)
    host.kill(host.keepers()[0])
    wait_until(host.over)
    assert host.ask("renew", run="r1", ttl_s=30)["leases"][0]["expires_in_s"] == 0


@pytest.mark.parametrize("request_", [{}, {"run": "r", "leases": []}, {"leases": "l1"}, {"leases": [1]}])
def test_renew_takes_a_run_or_a_list(host: AgentHost, request_: dict[str, object]) -> None:
    assert host.ask("renew", ttl_s=1, **request_)["error"]["kind"] == "bad_request"


@pytest.mark.parametrize("breaks", ["undo:fail", "undo:slow"])
def test_the_keeper_tries_again_when_an_undo_fails_or_a_starved_host_is_slow(host: AgentHost, breaks: str) -> None:
    well_again = host.folder / "well again"
    host.apply(ttl_s=0.3, breaks=breaks, until=str(well_again))
    wait_until(lambda: host.state().state == "reverting")
    assert host.broken()
    well_again.write_text("")
    wait_until(lambda: host.state().state == "clean")
    wait_until(lambda: not host.claims())  # they go right after the state is written


def test_a_driver_that_hangs_in_the_kernel_at_the_deadline_is_stuck_at_once(host: AgentHost) -> None:
    host.apply(ttl_s=0.3, breaks="undo:hang")
    wait_until(lambda: host.state().state == "stuck")
    wait_until(lambda: not host.keepers())
    assert "did not come back" in str(host.state().reason)


@pytest.mark.parametrize("change", ["boot_id", "init_start"])
def test_a_lease_of_an_earlier_start_of_the_host_is_over(host: AgentHost, change: str) -> None:
    host.apply(LOCK)
    for who in (*host.keepers(), *host.holders()):
        host.kill(who)
    folder, state = host.lease_folder(), host.state()
    earlier = type(state.boot)(**{**vars(state.boot), change: "earlier" if change == "boot_id" else 0})
    folder.save(type(state)(**{**vars(state), "boot": earlier}))
    [line] = host.ask("sweep")["leases"]
    assert (line["state"], line["ended_by"]) == ("clean", "deadline")
    assert "started anew" in line["reason"]


def _opened(pid: int) -> set[str]:
    found = set()
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed between the two calls
            found.add(str(path.readlink()))
    return found


def test_the_keeper_has_a_session_of_its_own_and_nothing_open(host: AgentHost) -> None:
    host.apply()
    [keeper] = host.keepers()
    assert os.getsid(keeper.pid) == keeper.pid
    assert Path(f"/proc/{keeper.pid}/cwd").readlink() == Path("/")
    looks = []
    for _ in range(5):  # what was handed on to it is there each time; what it reads just now is not
        looks.append(_opened(keeper.pid))
        time.sleep(0.02)
    opened = set.intersection(*looks)
    folder = f"{host.home}/leases/l1"
    assert opened == {"/dev/null", f"{folder}/keeper.log", f"{folder}/keeper.lock"}


def test_keeper_and_holder_get_the_recorded_environment_and_nothing_else(host: AgentHost) -> None:
    host.environment.update(SECRET_TOKEN="hush", CUDA_DEVICE_ORDER="PCI_BUS_ID", LD_LIBRARY_PATH="/nowhere")  # noqa: S106 (not a secret)
    host.apply(LOCK)
    for who in (*host.keepers(), *host.holders()):
        with open(f"/proc/{who.pid}/environ", "rb") as file:  # noqa: PTH123 (a path of the kernel's)
            names = {entry.split(b"=")[0].decode() for entry in file.read().split(b"\0") if entry}
        names.discard("CHAOSGPU_LEASE")
        names.discard("LC_CTYPE")
        assert names <= {"PATH", "LD_LIBRARY_PATH", "CUDA_DEVICE_ORDER", "CHAOSGPU_AGENT_HOME"}
