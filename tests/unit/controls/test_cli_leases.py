# SPDX-License-Identifier: Apache-2.0
"""`chaosgpu leases`, `halt` and `resume` against an agent in memory: what is printed first, and the exit codes."""

import json
from collections.abc import Iterator

import pytest

from chaosgpu.cli.main import main
from chaosgpu.fleet.ask import use_transport
from chaosgpu.fleet.transports.memory import MemoryTransport
from chaosgpu.fleet.values import JsonObject

ACTIVE: JsonObject = {
    "lease": "lease-1",
    "run": "run-1",
    "fault": "gpu.power.cap",
    "state": "active",
    "claims": ["gpu:GPU-1:power_limit"],
    "expires_in_s": 21.4,
    "verified": None,
    "reason": None,
}
STUCK: JsonObject = ACTIVE | {
    "lease": "lease-2",
    "state": "stuck",
    "reason": "The driver hangs: reboot the host.",
    "expires_in_s": 0,
}


class _Host:
    """Answers each verb as the test says."""

    def __init__(self) -> None:
        self.says: dict[str, JsonObject] = {
            "list": {"leases": [], "halted": None},
            "record": {"undo": {"prior": {"watts": 700}}},
        }
        self.transport = MemoryTransport(lambda verb, _request: self.says[verb])


@pytest.fixture
def host() -> Iterator[_Host]:
    found = _Host()
    with use_transport(found.transport):
        yield found


def test_no_open_lease_is_exit_code_0(host: _Host, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["leases"]) == 0
    assert capsys.readouterr().out == "no lease is open\n"
    assert host.transport.asked[0][1]["verify"] is False


def test_an_open_lease_is_shown_with_what_it_holds_and_when_it_ends(
    host: _Host, capsys: pytest.CaptureFixture[str]
) -> None:
    host.says["list"] = {"leases": [ACTIVE | {"verified": False, "reason": "its cap is gone"}], "halted": None}
    assert main(["leases", "--verify"]) == 3
    said = capsys.readouterr().out
    for part in ("active lease-1  gpu.power.cap on localhost, run run-1, ends in 21 s", "NOT SEEN IN FORCE"):
        assert part in said
    assert "gpu:GPU-1:power_limit" in said
    assert "its cap is gone" in said
    assert host.transport.asked[0][1]["verify"] is True


def test_a_stuck_lease_comes_first_with_what_to_do_by_hand(host: _Host, capsys: pytest.CaptureFixture[str]) -> None:
    host.says["list"] = {"leases": [ACTIVE, STUCK], "halted": None}
    assert main(["leases"]) == 5
    said = capsys.readouterr().out
    assert said.startswith("STUCK  lease-2")
    assert said.index("STUCK") < said.index("lease-1")
    for part in ("The driver hangs: reboot the host.", '{"watts": 700}', "chaosgpu agent undo --lease lease-2"):
        assert part in said
    assert main(["leases", "--json"]) == 5
    shown = json.loads(capsys.readouterr().out)
    assert [lease["lease"] for lease in shown["leases"]] == ["lease-2", "lease-1"]


def test_a_host_that_gives_no_answer_is_cut_off_and_not_clean(host: _Host, capsys: pytest.CaptureFixture[str]) -> None:
    broken: JsonObject = {"error": {"kind": "store", "message": "the disk is gone."}}
    host.says |= {"list": broken, "halt": broken, "resume": broken}
    assert main(["leases"]) == 4
    assert main(["halt", "--reason", "pager"]) == 5
    assert main(["resume", "--reason", "settled"]) == 5
    said = capsys.readouterr().out
    assert said.count("CUT OFF") == 3
    assert "touch /run/chaosgpu/HALT" in said
    assert "no lease is open" not in said


def test_halt_says_what_was_undone_and_what_was_not(host: _Host, capsys: pytest.CaptureFixture[str]) -> None:
    latched: JsonObject = {"by": "ann", "reason": "pager", "at": "2026-11-20T12:00:00Z"}
    clean = ACTIVE | {"state": "clean", "restored": {"watts": 700}}
    host.says["halt"] = {"halted": latched, "leases": [clean]}
    assert main(["halt", "--reason", "pager", "--by", "ann"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "localhost  halted by ann at 2026-11-20T12:00:00Z: pager",
        "localhost  undone gpu.power.cap of run run-1 (lease-1): watts 700",
    ]
    host.says["halt"] = {"halted": latched, "leases": [clean, STUCK]}
    assert main(["halt", "--reason", "pager"]) == 5
    assert "NOT UNDONE gpu.power.cap" in capsys.readouterr().out


@pytest.mark.parametrize("verb", ["halt", "resume"])
def test_nobody_halts_or_resumes_without_a_reason(host: _Host, verb: str) -> None:
    assert main([verb, "--reason", "  "]) == 2
    with pytest.raises(SystemExit) as usage:
        main([verb])
    assert usage.value.code == 2
    assert host.transport.asked == []
