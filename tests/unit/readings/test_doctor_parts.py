# SPDX-License-Identifier: Apache-2.0
"""What doctor says of remediation agents, of what could hold the undo back, of residue, and of each fault right now."""

from pathlib import Path

import pytest

from chaosgpu.agent.readings.doctor_remediation import remediation_checks
from chaosgpu.agent.readings.doctor_residue import residue_checks
from chaosgpu.agent.readings.doctor_undo import records
from unit.readings.conftest import MakeAgent, MakeGpus, uuid_of
from unit.residue.conftest import MakeScene, make_scene

__all__ = ["make_scene"]


def _process(pid: int, *words: str) -> dict[str, str]:
    stat = f"{pid} ({words[0][:15]}) S 1 {pid} {pid} 0 -1 4194560 " + "0 " * 30
    return {
        f"/proc/{pid}/stat": stat,
        f"/proc/{pid}/cmdline": "\0".join(words) + "\0",
        f"/proc/{pid}/environ": "",
        f"/proc/{pid}/cgroup": "0::/system.slice/x.service\n",
    }


@pytest.mark.parametrize(
    ("name", "files", "ok"),
    [
        ("gpud", _process(7, "/usr/sbin/gpud", "run"), None),
        ("Slurm", {"/etc/slurm/slurm.conf": "ClusterName=x\nHealthCheckProgram=/usr/sbin/nhc\n"}, None),
        ("NHC", {"/etc/nhc/nhc.conf": "* || check_hw_cpuinfo\n"}, None),
        ("DCGM", _process(8, "nv-hostengine"), True),
        ("node-problem-detector", _process(9, "/usr/bin/node-problem-detector"), None),
        ("monit", {"/etc/systemd/system/monit.service": "[Service]\n"}, None),
        ("earlyoom", _process(10, "earlyoom"), None),
        ("nvidia-persistenced", _process(11, "/usr/bin/nvidia-persistenced"), True),
        ("triton.service", {"/etc/systemd/system/triton.service": "[Service]\nRestart=always\nWatchdogSec=30\n"}, None),
    ],
)
def test_what_acts_by_itself_is_named_with_what_it_would_do(
    name: str, files: dict[str, str], ok: bool | None, make_scene: MakeScene
) -> None:
    [found] = remediation_checks(make_scene(files))
    assert isinstance(found, dict)
    assert (found["name"], found["ok"], found["group"]) == (f"remediation {name}", ok, "remediation")


def test_a_host_on_which_nothing_acts_says_so(make_scene: MakeScene) -> None:
    files = {"/etc/slurm/slurm.conf": "# HealthCheckProgram=/x\n", "/etc/systemd/system/triton.service": "[Service]\n"}
    [found] = remediation_checks(make_scene(files))
    assert isinstance(found, dict)
    assert (found["name"], found["ok"]) == ("remediation any", True)


def test_residue_is_shown_worst_first_with_what_to_do_and_what_was_not_seen(make_scene: MakeScene) -> None:
    files = {
        "/etc/nologin": "",
        "/sys/fs/cgroup/x.service/cgroup.procs": "",
        "/sys/fs/cgroup/x.service/cgroup.freeze": "1",
    }
    rows = [row for row in residue_checks(make_scene(files)) if isinstance(row, dict)]
    assert [(row["name"], row["ok"]) for row in rows] == [
        ("residue cgroup.frozen", False),
        ("residue login.refused", None),
        ("residue in gpus", None),
        ("residue", None),
    ]
    assert rows[0]["by_hand"] == "systemctl thaw x.service"
    assert "there is no driver to ask" in str(rows[2]["detail"])


def test_a_file_system_without_room_holds_no_records(tmp_path: Path) -> None:
    assert records(str(tmp_path / "not there" / "yet"))[0] is True
    ok, detail = records("/proc")  # it has room for nothing
    assert ok is False
    assert "no lease is safe" in detail


def test_each_kind_of_fault_that_may_be_late_says_what_it_waits_for(make_agent: MakeAgent) -> None:
    checks = {check["name"]: check["detail"] for check in make_agent(None).ask("doctor")["checks"]}
    _, services, packages = checks["deadlines"].split("; ")
    assert "unit.stop" in services
    assert services.endswith("may take longer, since a service has to start")
    assert packages.startswith("package.install, package.unattended may take longer, since the package manager")


def test_a_gpu_that_cannot_take_a_fault_now_says_why(make_gpus: MakeGpus, make_agent: MakeAgent) -> None:
    gpus = make_gpus()
    gpus.set(1, compute_mode=2)
    answer = make_agent(gpus).ask("doctor")
    found = {check["name"]: check for check in answer["checks"]}
    busy = found[f"fault gpu.memory.fill on GPU {uuid_of(gpus, 1)}"]
    assert busy["ok"] is None
    assert "Not now: " in busy["detail"]
    assert "prohibited" in busy["detail"]
    assert f"fault gpu.memory.fill on GPU {uuid_of(gpus, 0)}" not in found
    assert found["residue gpu.compute_mode"]["ok"] is None
