# SPDX-License-Identifier: Apache-2.0
"""Slurm's texts, and what its tools answer when they fail: small programs in their place say what real ones will not.

What real ones do is in tests/bench/test_service_slurm.py.
"""

import os
from collections.abc import Callable
from dataclasses import replace

import pytest

from chaosgpu.agent.errors import AgentError, Refused, Unanswered
from chaosgpu.agent.home import Home
from chaosgpu.agent.service import program
from chaosgpu.agent.service.record import Taken
from chaosgpu.agent.service.slurm import Slurm
from chaosgpu.agent.service.slurm_node import has_reservation, parse_jobs, parse_node
from chaosgpu.agent.service.thing import Budget
from support.service_desk import ServiceHost

# As 22.05 prints it; nothing in it is shortened but numbers of the machine.
NODE = """\
NodeName=gpu1 Arch=x86_64 CoresPerSocket=1
   CPUAlloc=0 CPUEfctv=2 CPUTot=2 CPULoad=N/A
   AvailableFeatures=(null)
   Gres=(null)
   NodeAddr=gpu1 NodeHostName={host} Version=22.05.8
   OS=Linux 6.1.0 #1 SMP PREEMPT_DYNAMIC
   RealMemory=1 AllocMem=0 FreeMem=N/A Sockets=2 Boards=1
   State={state} ThreadsPerCore=1 TmpDisk=0 Weight=1 Owner=N/A MCS_label=N/A
   Partitions=gpu
   BootTime=None SlurmdStartTime=None
   CfgTRES=cpu=2,mem=1M,billing=2
   {reason}

"""
DRAINED = "Reason=chaosgpu d1: a (b) c=d [root@2026-11-26T06:43:23]"
RESERVATION = """\
ReservationName=chaosgpu-d1-gpu1 StartTime=2026-11-26T06:43:23 EndTime=2027-11-26T06:43:23 Duration=365-00:00:00
   Nodes=gpu1 NodeCnt=1 CoreCnt=2 Features=(null) PartitionName=(null) Flags=SPEC_NODES
"""
type Give = Callable[..., Slurm]


def test_a_node_is_read_from_what_scontrol_prints() -> None:
    node = parse_node(NODE.format(host="gpu1", state="IDLE+DRAIN", reason=DRAINED))
    assert (node.name, node.host, node.state) == ("gpu1", "gpu1", "IDLE+DRAIN")
    assert node.drained_by == "chaosgpu d1: a (b) c=d"
    assert parse_node(NODE.format(host="gpu1", state="IDLE", reason="")).drained_by is None


@pytest.mark.parametrize(
    ("state", "usable", "answers"),
    [
        ("IDLE", True, True), ("MIXED", True, True), ("IDLE+RESERVED", True, True), ("IDLE+CLOUD", True, True),
        ("IDLE+DRAIN", False, True), ("IDLE+MAINT", False, True), ("IDLE*", False, False), ("DOWN", False, True),
        ("DOWN*+DRAIN", False, False), ("UNKNOWN", False, False), ("IDLE+NOT_RESPONDING", False, False),
        ("IDLE+FAIL", False, True), ("IDLE+POWERED_DOWN", False, True), ("IDLE+REBOOT_REQUESTED", False, True),
    ],
)  # fmt: skip
def test_only_a_node_that_jobs_can_start_on_is_usable(state: str, usable: bool, answers: bool) -> None:
    node = parse_node(NODE.format(host="gpu1", state=state, reason=""))
    assert (node.usable, node.answers) == (usable, answers)


def test_a_reason_with_the_look_of_a_state_changes_nothing_of_the_state() -> None:
    node = parse_node(
        NODE.format(host="gpu1", state="IDLE+DRAIN", reason="Reason=disk State=IDLE [ann@2026-01-01T00:00:00]")
    )
    assert (node.state, node.drained_by) == ("IDLE+DRAIN", "disk State=IDLE")


def test_jobs_and_reservations_are_read() -> None:
    assert parse_jobs("12|ann|RUNNING\n13|bob|COMPLETING\n") == ["12 (ann, running)", "13 (bob, completing)"]
    assert parse_jobs("\n") == []
    assert has_reservation(RESERVATION, "chaosgpu-d1-gpu1")
    assert not has_reservation(RESERVATION, "chaosgpu-d1")
    with pytest.raises(Unanswered, match="cannot be understood: torn"):
        parse_node("torn")


@pytest.fixture
def give(host: ServiceHost, monkeypatch: pytest.MonkeyPatch) -> Give:
    """Give a Slurm whose tools are what the test writes: cases of a shell over their own words."""
    tools = host.agent.folder / "tools"
    tools.mkdir()
    monkeypatch.setattr(program, "_FOLDERS", (str(tools),))
    desk = replace(host.desk(), home=Home(str(host.agent.home), limited=False))

    def slurm(scontrol: str, squeue: str = "true") -> Slurm:
        for name, text in (("scontrol", f'case "$*" in\n{scontrol}\nesac'), ("squeue", squeue)):
            (tools / name).write_text(f"#!/bin/sh\n{text}\n")
            (tools / name).chmod(0o755)
        return Slurm("gpu1", "d1", "a (b) c=d", desk)

    return slurm


def _shows(state: str = "IDLE", reason: str = "", host: str | None = None) -> str:
    shown = NODE.format(state=state, reason=reason, host=host or os.uname().nodename.upper())
    return f"'show node gpu1') cat <<'E'\n{shown}\nE\n;;"


NONE = "show\\ reservation*) echo 'Reservation x not found'; exit 1;;"


def test_a_node_in_service_without_jobs_is_fit(give: Give) -> None:
    prior = give(f"{_shows()}\n{NONE}").prior()
    assert (prior["node"], prior["reservation"]) == ("gpu1", "chaosgpu-d1-gpu1")


@pytest.mark.parametrize(
    ("scontrol", "squeue", "sentence"),
    [
        (_shows(host="gpu7"), "true", "Slurm's node gpu1 is the host gpu7, and this is"),
        (
            _shows("IDLE+DRAIN", "Reason=disk [ann@2026-01-01T00:00:00]"),
            "true",
            "gpu1 is IDLE.DRAIN: disk. Only a node",
        ),
        (_shows("IDLE+RESERVED"), "true", "gpu1 is IDLE.RESERVED. Only a node in service"),
        (_shows("DOWN*"), "true", "gpu1 is DOWN"),
        (_shows(), "echo '12|ann|RUNNING'", "Jobs are on Slurm's node gpu1: 12 .ann, running"),
        (_shows(), "echo broken >&2; exit 1", "Slurm does not say which jobs are on gpu1: .*broken"),
        (
            "*) echo 'Unable to contact slurm controller' >&2; exit 1;;",
            "true",
            "says nothing of the node gpu1: .*Unable",
        ),
        (
            f"{_shows()}\n*) echo 'Socket timed out' >&2; exit 1;;",
            "true",
            "says nothing of its reservations: .*timed out",
        ),
        (
            f"{_shows()}\n*) echo ReservationName=chaosgpu-d1-gpu1;;",
            "true",
            "has a reservation chaosgpu-d1-gpu1 already",
        ),
        ("*) ;;", "true", "cannot be understood"),
    ],
)
def test_a_node_that_is_not_known_to_be_free_is_refused(give: Give, scontrol: str, squeue: str, sentence: str) -> None:
    with pytest.raises(AgentError, match=sentence):
        give(scontrol, squeue).prior()


def test_a_word_of_success_is_not_the_state(give: Give, host: ServiceHost) -> None:
    slurm = give(f"{_shows()}\n{NONE}\ncreate*) echo 'Reservation created: x';;")
    with pytest.raises(Refused, match=r"Slurm does not give us the node gpu1: .*Reservation created"):
        slurm.take(Taken("slurm", {}, "taking"), Budget(host.desk().clock, 10.0))


def test_without_slurm_it_is_told_to_leave_it_out(give: Give, host: ServiceHost) -> None:
    slurm = give("*) ;;")
    (host.agent.folder / "tools" / "scontrol").unlink()
    with pytest.raises(Refused, match="this host has no scontrol"):
        slurm.prior()
