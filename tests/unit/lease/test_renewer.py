# SPDX-License-Identifier: Apache-2.0
"""The renewer's decisions with the clock in hand, and its process: time is bought from signs of progress."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chaosgpu.errors import Refused
from chaosgpu.lease import renewal
from chaosgpu.lease.renewal import Renewal, Way
from chaosgpu.lease.renewer import Terms

TTL_S = 30.0


def _terms() -> Terms:
    terms = Terms(TTL_S, sign_s=100.0)
    terms.take({"at": 100.0, "hold": "a"}, 100.0)
    return terms


def test_leases_are_renewed_every_third_of_the_ttl_while_there_are_signs() -> None:
    terms = _terms()
    asked = []
    for tenth in range(1000, 1401):
        now_s = tenth / 10
        terms.take({"at": now_s}, now_s)
        if terms.due_s(now_s) is not None:
            asked.append(now_s)
            terms.renewed(now_s, failed=False)
    assert asked == [110.0, 120.0, 130.0, 140.0]


def test_a_renewal_reaches_as_far_as_a_ttl_after_the_last_sign() -> None:
    terms = _terms()
    terms.take({"at": 104.0}, 104.0)
    assert terms.due_s(112.0) == TTL_S - 8.0


def test_without_a_new_sign_nothing_is_renewed_again() -> None:
    terms = _terms()
    terms.take({"at": 109.0}, 109.0)
    assert terms.due_s(110.0) is not None
    terms.renewed(110.0, failed=False)
    assert [terms.due_s(now_s) for now_s in (120.0, 125.0, 135.0)] == [None, None, None]
    terms.take({"at": 136.0}, 136.0)
    assert terms.due_s(136.0) == TTL_S


@pytest.mark.parametrize("back_s", [130.0, 200.0])
def test_a_controller_that_comes_back_after_a_ttl_of_silence_is_never_renewed_again(back_s: float) -> None:
    terms = _terms()
    terms.take({"at": back_s}, back_s)
    assert terms.stopped is not None
    terms.take({"at": back_s + 1}, back_s + 1)
    assert terms.due_s(back_s + 20) is None


def test_signs_that_waited_in_the_pipe_of_a_stopped_renewer_count_from_when_they_were_given() -> None:
    terms = _terms()
    for at in (101.0, 102.0, 103.0):
        terms.take({"at": at}, 140.0)
    assert terms.due_s(140.0) is None
    assert "no progress for 37.0 s" in str(terms.stopped)


def test_a_sign_from_the_future_buys_nothing_more() -> None:
    terms = _terms()
    terms.take({"at": 1e9}, 105.0)
    assert terms.stopped is not None or terms.due_s(110.0) == TTL_S - 5.0


def test_a_failed_renewal_is_tried_again_soon_and_does_not_use_up_the_sign() -> None:
    terms = _terms()
    terms.take({"at": 109.0}, 109.0)
    assert terms.due_s(110.0) is not None
    terms.renewed(110.0, failed=True)
    assert terms.due_s(111.0) is None
    assert terms.due_s(113.0) is not None


def test_a_dropped_lease_and_a_stopped_run_are_renewed_no_more() -> None:
    terms = _terms()
    terms.take({"at": 111.0, "hold": "b"}, 111.0)
    terms.take({"drop": "a"}, 111.0)
    assert list(terms.leases) == ["b"]
    terms.take({"drop": "b"}, 111.0)
    assert terms.due_s(112.0) is None
    terms.take({"at": 112.0, "hold": "c"}, 112.0)
    terms.take({"stop": True}, 112.0)
    assert terms.due_s(130.0) is None


AGENT = """
import json, os, sys
request = json.load(sys.stdin)
if os.path.exists(sys.argv[1] + ".fails"):
    os.unlink(sys.argv[1] + ".fails")
    sys.exit(1)
with open(sys.argv[1], "a") as asked:
    asked.write(json.dumps(request) + "\\n")
leases = [{"lease": name, "state": "active", "expires_in_s": request["ttl_s"]} for name in request["leases"]]
print(json.dumps({"protocol": 1, "leases": leases}))
"""


class _Asked:
    """An agent that only writes down what it is asked."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "asked"
        program = folder / "agent.py"
        program.write_text(AGENT)
        self.way = Way([sys.executable, str(program), str(self.file)], "tester", 0.6)

    def requests(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.file.read_text().splitlines()] if self.file.exists() else []


def test_all_leases_of_a_run_are_renewed_with_one_call(tmp_path: Path) -> None:
    asked, held = _Asked(tmp_path), Renewal(tmp_path / "log")
    for lease in ("a", "b"):
        held.hold(lease, asked.way)
    end_s = time.monotonic() + 10
    while not asked.requests() and time.monotonic() < end_s:
        held.sign()
        time.sleep(0.05)
    held.close()
    assert asked.requests()[0]["leases"] == ["a", "b"]
    assert all("renewed" in report for report in held.reports()[:1])
    assert (tmp_path / "log").read_text() == ""


def test_a_renewal_that_fails_is_told_and_tried_again(tmp_path: Path) -> None:
    asked, held = _Asked(tmp_path), Renewal(tmp_path / "log")
    (tmp_path / "asked.fails").touch()
    held.hold("a", asked.way)
    said: list[str] = []
    end_s = time.monotonic() + 10
    while "renewed" not in said and time.monotonic() < end_s:
        held.sign()
        time.sleep(0.05)
        said += [key for report in held.reports() for key in report]
    held.close()
    assert said[:2] == ["failed", "renewed"]


def test_a_renewer_whose_controller_closes_the_pipe_ends_at_once(tmp_path: Path) -> None:
    asked, held = _Asked(tmp_path), Renewal(tmp_path / "log")
    held.hold("a", asked.way)
    child = held._child
    assert child is not None
    assert child.stdin is not None
    child.stdin.close()
    assert child.wait(5) == 0
    held.close()
    assert asked.requests() == []


def test_a_renewer_that_stands_still_keeps_no_thread_of_the_controller_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewal, "_END_S", 0.2)
    held = Renewal(tmp_path / "log")
    held.hold("a", _Asked(tmp_path).way)
    child = held._child
    assert child is not None
    child.send_signal(signal.SIGSTOP)
    began_s = time.monotonic()
    for _ in range(5000):  # more than a pipe takes
        held.sign()
    assert time.monotonic() - began_s < 2
    held.close()
    assert child.returncode == -signal.SIGKILL


def test_a_lease_that_nobody_would_renew_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    way = _Asked(tmp_path).way
    stopped = Renewal(tmp_path / "log")
    stopped.stop()
    with pytest.raises(Refused, match="would not be renewed"):
        stopped.hold("a", way)
    monkeypatch.setattr(renewal, "RENEWER", ("/no/such/renewer",))
    with pytest.raises(Refused, match="could not be started"):
        Renewal(tmp_path / "log").hold("a", way)


PROGRAM = """
import os, sys, threading, time
from chaosgpu.controls.progress import makes_progress
main = threading.main_thread()
def hangs():
    while main.is_alive():
        time.sleep(0.01)
    print("another thread lives:", threading.current_thread().is_alive(), "progress:", makes_progress(main))
before = makes_progress(main)
threading.Thread(target=hangs).start()
print("at first:", before, flush=True)
"""


def test_a_main_thread_that_has_ended_makes_no_progress_although_a_hung_activity_lives_on() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.splitlines() == ["at first: True", "another thread lives: True progress: False"]


def test_importing_the_renewer_costs_no_chaos_toolkit() -> None:
    words = "import sys, chaosgpu.lease.renewer; sys.exit(int('chaoslib' in sys.modules or 'pydantic' in sys.modules))"
    assert subprocess.run([sys.executable, "-c", words], env=dict(os.environ), check=False).returncode == 0
