# SPDX-License-Identifier: Apache-2.0
"""What systemd is asked, word by word, and how its answers are read. That it does so is tested on test hosts."""

import subprocess
import sys
from pathlib import Path

import pytest

from chaosgpu.agent import systemd
from chaosgpu.agent.clock import SystemClock
from chaosgpu.agent.errors import Refused, Unanswered
from chaosgpu.agent.folder import LeaseFolder
from chaosgpu.agent.home import Home
from chaosgpu.agent.process import alive, identity
from chaosgpu.agent.systemd import Systemd, find_systemd
from chaosgpu.agent.watchdog.choose import choose
from chaosgpu.agent.watchdog.timer import armed_units, timer_words
from chaosgpu.agent.watchdog.together import Together
from support.agent_host import wait_until

_SYSTEMD = Systemd("/usr/bin/systemctl", "/usr/bin/systemd-run", 252)


def _program(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def _host(folder: Path, systemctl: str) -> tuple[str, tuple[str, ...]]:
    for name, script in (("systemctl", systemctl), ("systemd-run", "exit 1")):
        _program(folder, name, script)
    return str(folder), (str(folder),)


def test_the_timer_starts_the_reverter_a_second_early_and_restarts_it() -> None:
    assert timer_words("l1", 30.0, {"PATH": "/bin", "CHAOSGPU_SIM_STATE": "/run/s"}, ("/usr/bin/python3", "a$b")) == (
        "--unit=chaosgpu-revert-l1.timer",
        "--description=Undo of chaosgpu lease l1",
        "--on-active=29.000s",
        "--timer-property=AccuracySec=100ms",
        "--property=Type=simple",
        "--property=Restart=on-failure",
        "--property=RestartSec=2",
        "--property=StartLimitIntervalSec=0",
        "--property=OOMScoreAdjust=-1000",
        "--property=KillMode=process",
        "--setenv=PATH=/bin",
        "--setenv=CHAOSGPU_SIM_STATE=/run/s",
        "--",
        "/usr/bin/python3",
        "a$$b",
    )


def test_a_lease_whose_time_is_nearly_over_is_watched_at_once() -> None:
    assert "--on-active=0.000s" in timer_words("l1", 0.4, {}, ("a",))


def test_a_process_moves_into_a_scope_with_its_whole_environment_and_a_limit() -> None:
    words, environment = _SYSTEMD.scope(
        "chaosgpu-hold-l1.scope", "about", ("/a", "hold"), {"LD_LIBRARY_PATH": "/odd", "CHAOSGPU_LEASE": "/l1"}, 65.0
    )
    assert words == (
        "/usr/bin/systemd-run",
        "--quiet",
        "--collect",
        "--scope",
        "--unit=chaosgpu-hold-l1.scope",
        "--description=about",
        "--property=RuntimeMaxSec=65.000s",
        "--property=TimeoutStopSec=2",
        "--setenv=LD_LIBRARY_PATH=/odd",
        "--setenv=CHAOSGPU_LEASE=/l1",
        "--",
        "/a",
        "hold",
    )
    assert environment == {"CHAOSGPU_LEASE": "/l1"}  # systemd-run itself must not load another's libraries


def test_a_systemd_that_knows_no_limit_of_scopes_gets_none() -> None:
    words, _ = Systemd("c", "r", 239).scope("u.scope", "about", ("a",), {}, 65.0)
    assert not [word for word in words if "RuntimeMaxSec" in word]


@pytest.mark.parametrize(
    ("timer", "service", "armed"),
    [
        (("active", "waiting"), ("inactive", "dead"), True),
        (("active", "running"), ("active", "running"), True),
        (("inactive", "dead"), ("active", "running"), True),
        (("inactive", "dead"), ("activating", "auto-restart"), True),
        (("inactive", "dead"), ("inactive", "dead"), False),
        (("active", "elapsed"), ("inactive", "dead"), False),
        (("failed", "failed"), ("failed", "failed"), False),
    ],
)
def test_armed_is_a_timer_that_waits_or_a_reverter_that_runs(
    timer: tuple[str, str], service: tuple[str, str], *, armed: bool
) -> None:
    shown = "\n".join(
        f"Id=chaosgpu-revert-l1.{kind}\nActiveState={active}\nSubState={sub}\n"
        for kind, (active, sub) in (("timer", timer), ("service", service))
    )
    assert armed_units(shown) is armed


def test_what_systemctl_never_said_is_not_armed() -> None:
    assert not armed_units("")


def test_a_host_without_systemd_has_none(tmp_path: Path) -> None:
    assert find_systemd(str(tmp_path / "none"), (str(tmp_path),)) is None


def test_a_host_without_the_programs_has_none(tmp_path: Path) -> None:
    assert find_systemd(str(tmp_path), (str(tmp_path),)) is None


def test_programs_that_reach_no_systemd_are_none(tmp_path: Path) -> None:
    assert find_systemd(*_host(tmp_path, "echo System has not been booted with systemd >&2; exit 1")) is None


@pytest.mark.parametrize(("said", "version"), [("Version=252.39-1~deb12u1", 252), ("Version=v257", 257)])
def test_the_version_is_read_as_any_distribution_writes_it(tmp_path: Path, said: str, version: int) -> None:
    found = find_systemd(*_host(tmp_path, f"echo {said}"))
    assert found == Systemd(f"{tmp_path}/systemctl", f"{tmp_path}/systemd-run", version)


def test_a_systemd_that_hangs_is_an_error_and_not_taken_for_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systemd, "ANSWER_WITHIN_S", 0.3)
    pids = tmp_path / "pids"
    place = _host(tmp_path, f"sleep 60 & echo $! > {pids}; wait")
    with pytest.raises(Refused, match="did not answer within"):
        find_systemd(*place)
    asleep = identity(int(pids.read_text()))
    wait_until(lambda: asleep is None or not alive(asleep))


def test_a_program_of_systemds_that_is_killed_is_an_error_that_may_pass_and_not_taken_for_none(tmp_path: Path) -> None:
    with pytest.raises(Unanswered, match="ended by signal 9"):
        find_systemd(*_host(tmp_path, "kill -KILL $$"))


def test_nothing_is_armed_where_systemd_hangs_and_it_is_asked_once(tmp_path: Path) -> None:
    asked = []

    def hangs() -> Systemd | None:
        asked.append(1)
        message = "systemd did not answer"
        raise Refused(message)

    folder = LeaseFolder(Home(str(tmp_path), limited=False), "l1", SystemClock())
    folder.make()
    together = Together(("/bin/true",), SystemClock(), hangs)
    for _ in range(3):
        with pytest.raises(Refused, match="did not answer"):
            together.arm(folder, {})
    assert together.armed(folder) is False
    assert len(asked) == 1


def test_where_the_timer_cannot_be_set_no_keeper_is_started_either(tmp_path: Path) -> None:
    folder = LeaseFolder(Home(str(tmp_path), limited=False), "l1", SystemClock())
    folder.make()
    _, (programs,) = _host(tmp_path, "exit 0")
    found = Systemd(f"{programs}/systemctl", f"{programs}/systemd-run", 252)
    with pytest.raises(Refused, match="nothing was touched"):
        Together(("/bin/true",), SystemClock(), lambda: found).arm(folder, {})
    assert not (tmp_path / "leases/l1/keeper.log").exists()


def test_a_timer_that_systemd_does_not_show_as_waiting_is_refused(tmp_path: Path) -> None:
    folder = LeaseFolder(Home(str(tmp_path), limited=False), "l1", SystemClock())
    folder.make()
    _program(tmp_path, "systemctl", "printf 'Id=chaosgpu-revert-l1.timer\\nActiveState=inactive\\nSubState=dead\\n'")
    _program(tmp_path, "systemd-run", "exit 0")
    found = Systemd(f"{tmp_path}/systemctl", f"{tmp_path}/systemd-run", 252)
    see = Together(("/bin/true",), SystemClock(), lambda: found).arm(folder, {})
    with pytest.raises(Refused, match="does not show"):
        see()


_WAITING = "printf 'Id=chaosgpu-revert-l1.timer\\nActiveState=active\\nSubState=waiting\\n'"


@pytest.mark.parametrize(("systemctl", "goes_on"), [(_WAITING, True), ("exit 1", False)])
def test_a_live_lease_goes_on_with_the_timer_alone_and_with_nothing_it_does_not(
    tmp_path: Path, systemctl: str, *, goes_on: bool
) -> None:
    folder = LeaseFolder(Home(str(tmp_path), limited=False), "l1", SystemClock())
    folder.make()
    _, (programs,) = _host(tmp_path, systemctl)  # its systemd-run fails, so no keeper can be had
    found = Systemd(f"{programs}/systemctl", f"{programs}/systemd-run", 252)
    together = Together(("/bin/true",), SystemClock(), lambda: found)
    assert not together.armed(folder)
    if goes_on:
        together.rearm(folder, {})
    else:
        with pytest.raises(Refused, match=r"timer .* could not be set.*keeper .* did not start"):
            together.rearm(folder, {})


def test_a_home_of_its_own_never_gets_units_of_the_hosts_systemd(tmp_path: Path) -> None:
    folder = LeaseFolder(Home(str(tmp_path), limited=True), "l1", SystemClock())
    deadline = choose(("a",), SystemClock(), Home(str(tmp_path), limited=True))
    assert deadline.own_unit(folder, ("a", "hold"), {"PATH": "/bin"}, 5.0) == (("a", "hold"), {"PATH": "/bin"})


def test_a_question_ends_with_the_agent_that_asks_it(tmp_path: Path) -> None:
    """Else a `systemctl stop` could come after the undo has started the unit again."""
    pids = tmp_path / "pid"
    _program(tmp_path, "systemctl", f"echo $$ > {pids}; exec sleep 60")
    script = f"from chaosgpu.agent.systemd import Systemd; Systemd({str(tmp_path / 'systemctl')!r}, '', 1).ask('stop')"
    agent = subprocess.Popen([sys.executable, "-c", script])
    wait_until(lambda: pids.exists() and pids.read_text().strip() != "")
    asks = identity(int(pids.read_text()))
    assert asks is not None
    assert alive(asks)
    agent.kill()
    agent.wait()
    wait_until(lambda: not alive(asks))
