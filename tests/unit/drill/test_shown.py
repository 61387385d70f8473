# SPDX-License-Identifier: Apache-2.0
"""What people and schedulers get to see: the preview, the picture of a room, units, AWX data, messages."""

import datetime as dt
import io
import re
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from chaosgpu.drill.awx import awx_schedules
from chaosgpu.drill.checks import check_plan
from chaosgpu.drill.command import Done, run_command
from chaosgpu.drill.notify import post
from chaosgpu.drill.occurrences import occurrences
from chaosgpu.drill.planfile import parse, read
from chaosgpu.drill.preview import look, refuse_busy_hosts, slurm_jobs, undo_lines
from chaosgpu.drill.room import PlainRoom, RichRoom, room_of
from chaosgpu.drill.site import read_site
from chaosgpu.drill.state import Part
from chaosgpu.drill.units import units_of, write_units
from chaosgpu.errors import BadArgument, Refused
from chaosgpu.fleet.ask import use_transport
from chaosgpu.fleet.transports.memory import MemoryTransport
from chaosgpu.lease.verdict import Verdict
from support.drills import MONDAY, World

GPU = {"uuid": "GPU-1", "name": "NVIDIA H100"}
PROCESS = {"pid": 7, "name": "/opt/tritonserver", "used_mib": 512}


def _answers(list_answer: dict[str, Any], gpus: Sequence[dict[str, Any]] = (GPU,)) -> MemoryTransport:
    def answer(verb: str, request: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001 (contract)
        if verb == "facts":
            return {"host": "gpu1", "gpus": [*gpus]}
        return list_answer if verb == "list" else {"values": {"processes": [PROCESS]}}

    return MemoryTransport(answer)


def test_a_preview_names_gpus_processes_leases_and_jobs() -> None:
    lease = {"lease": "l1", "fault": "gpu.burn", "run": "r", "state": "active"}
    with use_transport(_answers({"leases": [lease]})):
        [seen] = look(["localhost"], run=lambda *_: Done(0, b"", ""))
    [gpu] = seen.gpus
    assert (gpu.uuid, gpu.processes) == ("GPU-1", ("tritonserver (pid 7, 512 MiB)",))
    with pytest.raises(Refused, match=r"localhost is not free: gpu.burn of run r \(l1, active\) is in force"):
        refuse_busy_hosts([seen])


def test_a_halted_host_is_not_free_and_a_quiet_one_is() -> None:
    with use_transport(_answers({"leases": [], "halted": {"by": "bob", "reason": "smoke"}})):
        halted = look(["localhost"], with_jobs=False)
    with pytest.raises(Refused, match="localhost is halted by bob: smoke"):
        refuse_busy_hosts(halted)
    with use_transport(_answers({"leases": [], "halted": None}, gpus=())):
        [quiet] = look(["localhost"], with_jobs=False)
    refuse_busy_hosts([quiet])
    assert quiet.gpus_unknown == "it tells of none"


def test_slurm_jobs_are_what_squeue_says_or_unknown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert slurm_jobs("gpu1") == "there is no squeue here"
    squeue = tmp_path / "squeue"
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    for text, found in (
        ('#!/bin/sh\necho "17 ann RUNNING $2"\n', ("17 ann RUNNING --nodelist=gpu1",)),
        ("#!/bin/sh\nexit 0\n", ()),
        ("#!/bin/sh\necho 'slurm_load_jobs error: Invalid node' >&2; exit 1\n", "slurm_load_jobs error: Invalid node"),
    ):
        squeue.write_text(text)
        squeue.chmod(0o700)
        assert slurm_jobs("gpu1") == found


def test_the_undo_is_said_before_anything_is_done(world: World) -> None:
    hosts = {"names": ["gpu1", "gpu2"], "inventory": ["hosts.yaml"]}
    text = "\n".join(undo_lines(world.plan(hosts=hosts).plan))
    assert "chaosgpu halt --reason '…' --inventory hosts.yaml --limit gpu1,gpu2" in text
    assert "touch /run/chaosgpu/HALT" in text
    assert "after 120 s at most" in text


def test_a_room_sees_what_is_in_force_until_it_is_undone_and_the_verdict() -> None:
    console, room = Console(width=120), RichRoom()
    part = Part("leak.json", "A leak", 600)
    room.begins({"drill": "A leak on one host", "to stop": "chaosgpu drill stop"}, [part])
    part.state, part.attempt = "runs", "x.1"
    room.line("[09:30:01 INFO] FAULT gpu.memory.leak is active on gpu1: grew_mib 512 (lease-1)")

    def shown() -> str:
        with console.capture() as picture:
            console.print(room.picture())
        return picture.get()

    assert "IN FORCE" in shown()
    assert "gpu.memory.leak is active on gpu1" in shown()
    room.line("[09:31:01 INFO] UNDONE gpu.memory.leak on gpu1: free_mib 9 (lease-1)")
    assert "IN FORCE" not in shown()
    assert "0:00 of 10 min" in shown()
    part.state, part.verdict = "ended", "passed"
    room.ends(Verdict.PASSED, "the steady state held", ())
    assert "PASSED" in shown()
    assert "the steady state held" in shown()


def test_a_terminal_gets_a_picture_and_all_else_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    with room_of(stream) as room:
        assert isinstance(room, PlainRoom)
    monkeypatch.setattr(stream, "isatty", lambda: True)
    with room_of(stream) as room:
        assert isinstance(room, RichRoom)
        room.begins({"drill": "A leak on one host"}, [])
    assert "A leak on one host" in stream.getvalue()


def _unit(text: str, key: str) -> str:
    return next(line.partition("=")[2] for line in text.splitlines() if line.startswith(f"{key}="))


def test_units_start_the_drill_at_the_times_of_the_schedule_as_systemd_reads_them(world: World, tmp_path: Path) -> None:
    units = units_of(world.plan(title="100 % of it"), ["/opt/chaos gpu/chaosgpu"], tmp_path / "site.yaml", "drills")
    assert [*units] == [
        "chaosgpu-drill-leak.service", "chaosgpu-drill-leak.timer",
        "chaosgpu-drills-missed.service", "chaosgpu-drills-missed.timer",
    ]  # fmt: skip
    when = _unit(units["chaosgpu-drill-leak.timer"], "OnCalendar")
    assert when == "Mon,Tue,Wed,Thu *-*-* 09:30:00 Europe/Zurich"
    said = subprocess.run(
        ["systemd-analyze", "calendar", "--base-time=2026-11-29 12:00:00 UTC", "--iterations=3", when],
        capture_output=True, text=True, timeout=30, check=True,
    ).stdout  # fmt: skip
    next_ones = re.findall(r"\(in UTC\): \w+ (\S+ \S+) UTC", said) or re.findall(r": \w+ (\S+ \S+) UTC", said)
    due = [f"{one.at:%Y-%m-%d %H:%M:%S}" for one in occurrences(world.plan().plan.timing)][:3]
    assert next_ones[-3:] == due, said
    write_units(tmp_path, units)
    for name in units:
        text = (tmp_path / name).read_text()
        (tmp_path / name).write_text(text.replace("/opt/chaos gpu/chaosgpu", "/usr/bin/true"))
    checked = subprocess.run(
        ["systemd-analyze", "verify", *(str(tmp_path / name) for name in units)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "chaosgpu" not in checked.stderr, checked.stderr
    service = units["chaosgpu-drill-leak.service"]
    assert _unit(service, "ExecStart").startswith(
        f'"/opt/chaos gpu/chaosgpu" "drill" "--settings" "{tmp_path}/site.yaml" "run" "'
    )
    assert (_unit(service, "User"), _unit(service, "TimeoutStartSec")) == ("drills", "1200")
    assert "100 %% of it" in service


def test_a_plan_without_a_schedule_has_no_units_and_no_data(world: World) -> None:
    written = world.plan(schedule=None)
    for make in (lambda: units_of(written, ["x"], Path("/s"), None), lambda: awx_schedules(written, "Default", "p")):
        with pytest.raises(BadArgument, match="has no schedule"):
            make()


def test_awx_data_has_the_times_of_the_schedule(world: World) -> None:
    written = world.plan()
    [found] = yaml.safe_load(awx_schedules(written, "Ops", "drills/leak.yaml"))["controller_schedules"]
    assert found["rrule"] == (
        "DTSTART;TZID=Europe/Zurich:20261130T093000 "
        "RRULE:FREQ=WEEKLY;INTERVAL=1;BYDAY=MO,TU,WE,TH;UNTIL=20270301T235959Z"
    )
    assert found["extra_data"] == {"chaosgpu_plan": "drills/leak.yaml", "chaosgpu_plan_sha256": written.sha256}
    assert found["unified_job_template"] == "GPU planned drill"


def test_a_message_that_does_not_arrive_is_a_sentence() -> None:
    assert "could not be reached" in (post("http://127.0.0.1:9/x", b"{}", 2) or "")
    assert "no http:// or https:// address" in (post("ftp://x", b"{}", 2) or "")


def test_a_command_leaves_no_process_of_its_group() -> None:
    done = run_command(["sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $!"], b"", 5)
    stat = Path(f"/proc/{int(done.out)}/stat")
    until = time.monotonic() + 10
    while stat.exists() and " Z " not in stat.read_text():  # a kill takes a moment
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_sites_settings_are_read_from_their_folder_and_mistakes_are_sentences(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text("evidence: log\nallowed_signers: /etc/signers\napprovals: 2\n")
    site = read_site(None, {"CHAOSGPU_SITE": str(path)})
    assert (site.evidence_log, site.path(site.drills)) == (tmp_path / "log", tmp_path / ".chaosgpu/drills")
    for text, sentence in (
        ("evidense: x", "the file has no key 'evidense', perhaps 'evidence' was meant."),
        ("approvals: -1", "approvals: input should be greater than or equal to 0."),
        ("folder: /x", "must be an object"),
        ("[", "are no YAML"),
    ):
        path.write_text(text)
        with pytest.raises(BadArgument) as said:
            read_site(path)
        assert sentence in str(said.value)
    with pytest.raises(BadArgument, match="do not exist"):
        read_site(tmp_path / "gone")
    assert MONDAY.tzinfo is dt.UTC


ROOT = Path(__file__).parents[3]


def test_the_plan_of_the_catalogue_is_whole_and_that_of_the_documentation_is_the_same() -> None:
    written = read(ROOT / "experiments/drills/leak-one-host.yaml")
    check_plan(written, MONDAY)
    _, _, rest = (ROOT / "docs/drills.md").read_text(encoding="utf-8").partition("```yaml\n")
    assert parse(rest.partition("```")[0].encode(), "docs/drills.md") == written.plan
