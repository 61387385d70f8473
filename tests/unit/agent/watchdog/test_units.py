# SPDX-License-Identifier: Apache-2.0
"""The texts that start the agent by itself, and installing them."""

import configparser
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from chaosgpu.agent.home import Home
from chaosgpu.agent.install import Places, install_units
from chaosgpu.agent.readings.doctor_triggers import triggers
from chaosgpu.agent.systemd import Systemd
from chaosgpu.agent.units import BEFORE, RECOVER, SWEEP, cron_file, systemd_units

_COMMAND = ("/usr/bin/python3", "-I", "-S", "/usr/libexec/chaosgpu/agent.pyz")
_LEASES = "/var/lib/chaosgpu/leases"


def _parsed(text: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # systemd's keys keep their case
    parser.read_string(text)
    return parser


def test_the_boot_unit_comes_before_all_who_use_gpus_and_after_the_driver() -> None:
    unit = _parsed(systemd_units(_COMMAND, _LEASES, ("site.service",))[RECOVER])
    assert {"docker.service", "slurmd.service", "kubelet.service", "triton.service", "tritonserver.service"} <= {
        *BEFORE
    }
    assert unit["Unit"]["Before"].split() == [*BEFORE, "site.service"]
    assert "nvidia-persistenced.service" in unit["Unit"]["After"].split()
    assert not {*unit["Unit"]["After"].split()} & {*BEFORE}
    assert unit["Unit"]["ConditionDirectoryNotEmpty"] == unit["Unit"]["RequiresMountsFor"] == _LEASES
    assert unit["Install"]["WantedBy"] == "multi-user.target"
    assert unit["Service"]["ExecStart"] == " ".join((*_COMMAND, "tend"))
    assert int(unit["Service"]["TimeoutStartSec"]) == 120


def test_the_sweep_comes_every_30_s_and_starts_the_same() -> None:
    units = systemd_units(_COMMAND, _LEASES)
    timer, service = _parsed(units[SWEEP]), _parsed(units["chaosgpu-sweep.service"])
    assert dict(timer["Timer"]) == {"OnCalendar": "*:*:0/30", "AccuracySec": "1s", "Persistent": "true"}
    assert timer["Install"]["WantedBy"] == "timers.target"
    assert service["Service"]["ExecStart"] == " ".join((*_COMMAND, "tend"))
    assert service["Unit"]["ConditionDirectoryNotEmpty"] == _LEASES


def test_odd_paths_are_quoted_for_systemd() -> None:
    unit = _parsed(systemd_units(("/opt/our agent/100%/$x",), "/var/our leases")[RECOVER])
    assert unit["Service"]["ExecStart"] == '"/opt/our agent/100%%/$$x" tend'


def test_cron_sweeps_at_boot_and_every_minute() -> None:
    rows = [row for row in cron_file(("/opt/our agent/100%",)).splitlines() if not row.startswith("#")]
    assert rows == [
        "SHELL=/bin/sh",
        "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
        "@reboot root '/opt/our agent/100\\%' tend",
        "* * * * * root '/opt/our agent/100\\%' tend",
    ]


def _places(folder: Path, systemd: Systemd | None) -> Places:
    for name in ("units", "cron"):
        (folder / name).mkdir(exist_ok=True)
    return Places(f"{folder}/units", f"{folder}/cron", lambda: systemd, lambda: 0)


def _ask(capsys: pytest.CaptureFixture[str], folder: Path, places: Places, *words: str) -> dict[str, Any]:
    home = Home(str(folder / "home"), limited=False)
    status = install_units(words, _COMMAND, home, places)
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert ("error" in answer) == (status == 1)
    return answer


def test_without_systemd_the_file_of_cron_is_installed_and_removed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = _places(tmp_path, None)
    first = _ask(capsys, tmp_path, places, "install-units")
    assert first == {"backend": "cron", "written": [f"{tmp_path}/cron/chaosgpu"], "removed": []}
    assert (tmp_path / "cron/chaosgpu").read_text() == cron_file(_COMMAND)
    assert _ask(capsys, tmp_path, places, "install-units")["written"] == []
    assert _ask(capsys, tmp_path, places, "remove-units")["removed"] == [f"{tmp_path}/cron/chaosgpu"]
    assert [*(tmp_path / "cron").iterdir()] == []


def test_what_would_be_written_is_told_and_nothing_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    places = _places(tmp_path, None)
    told = _ask(capsys, tmp_path, places, "install-units", "--check")
    assert [*(tmp_path / "cron").iterdir()] == []
    assert told == _ask(capsys, tmp_path, places, "install-units")
    assert _ask(capsys, tmp_path, places, "install-units", "--check")["written"] == []


def test_with_neither_systemd_nor_cron_it_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    places = Places(f"{tmp_path}/units", f"{tmp_path}/no", lambda: None, lambda: 0)
    message = _ask(capsys, tmp_path, places, "install-units")["error"]["message"]
    assert f"`{' '.join(_COMMAND)} tend` at boot and every minute" in message


def test_a_user_cannot_install_for_the_host(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    places = Places(f"{tmp_path}/units", f"{tmp_path}/cron", lambda: None, lambda: 1000)
    assert "Only root" in _ask(capsys, tmp_path, places, "install-units")["error"]["message"]


@pytest.mark.parametrize(
    "words", [("install-units", "--into"), ("install-units", "--to", "x"), ("install-units", "--before", "a b.service")]
)
def test_words_that_are_not_understood_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    assert _ask(capsys, tmp_path, _places(tmp_path, None), *words)["error"]["kind"] == "bad_request"


def test_all_files_are_written_into_a_folder_for_whoever_installs_them_otherwise(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "chaosgpu.agent", "install-units", "--into", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=20)
    assert len(json.loads(done.stdout)["written"]) == 4
    names = {RECOVER, SWEEP, "chaosgpu-sweep.service", "chaosgpu.cron"}
    assert {path.name for path in tmp_path.iterdir()} == names
    command = shlex.join([sys.executable, "-m", "chaosgpu.agent", "tend"])
    assert f"ExecStart={command}\n" in (tmp_path / RECOVER).read_text()


def test_the_doctor_says_when_neither_systemd_nor_cron_stands_behind_the_keeper(tmp_path: Path) -> None:
    ok, detail = triggers(_COMMAND, own=True, look=lambda: None, cron=str(tmp_path), runs=lambda: True)
    assert ok is False
    assert "nothing stands behind it" in detail
    assert "agent install-units" in detail


@pytest.mark.parametrize("installed", [False, True])
def test_the_doctor_advises_no_cron_file_where_no_cron_runs(tmp_path: Path, installed: bool) -> None:
    if installed:
        (tmp_path / "chaosgpu").write_text(cron_file(_COMMAND))
    ok, detail = triggers(_COMMAND, own=True, look=lambda: None, cron=str(tmp_path), runs=lambda: False)
    assert ok is False
    assert detail.endswith("no cron runs here either: have something run `agent tend` each minute and at boot.")
    assert ("stands behind it, but" in detail) == installed
    assert "install-units" not in detail


def test_the_doctor_does_not_take_another_agents_cron_file_for_ours(tmp_path: Path) -> None:
    (tmp_path / "chaosgpu").write_text(cron_file(("/elsewhere/agent.pyz",)))
    assert triggers(_COMMAND, own=True, look=lambda: None, cron=str(tmp_path), runs=lambda: True)[0] is False


def test_the_doctor_tells_users_and_labs_that_they_have_a_keeper_alone() -> None:
    ok, detail = triggers(_COMMAND, own=False)
    assert ok is None
    assert "nothing at boot" in detail
