# SPDX-License-Identifier: Apache-2.0
"""`chaosgpu drill plan`, `preview`, `approve` and `schedule`: all that comes before a drill runs."""

import argparse
import contextlib
import datetime as dt
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

from chaosgpu.cli.drill_site import Desk, desk_of, reach, recorded, say
from chaosgpu.drill.approval import approvals_of, folder_of, sign, statement
from chaosgpu.drill.awx import awx_schedules
from chaosgpu.drill.checks import check_plan
from chaosgpu.drill.notify import Teller
from chaosgpu.drill.occurrences import occurrences
from chaosgpu.drill.plan import Plan
from chaosgpu.drill.planfile import Written, read
from chaosgpu.drill.preview import HostSeen, look, undo_lines
from chaosgpu.drill.settle import Missed, end_dead_drills, record_missed
from chaosgpu.drill.state import DrillFolder
from chaosgpu.drill.units import MISSED, units_of, write_units
from chaosgpu.drill.window import local, openings
from chaosgpu.errors import BadArgument, Refused
from chaosgpu.lease.directory import alive
from chaosgpu.lease.history import load
from chaosgpu.lint import lint
from chaosgpu.lint import read as read_experiment

__all__ = ["approve_verb", "plan_verb", "preview_verb", "recover_dead", "schedule_verb"]

_RECOVER_S = 600.0
_LOOK_EVERY_S = 0.2
_START_TIME = 19  # of proc_pid_stat(5), counted behind the name


def plan_verb(args: argparse.Namespace) -> int:
    """Check a plan, say what it comes to, and put it on record."""
    desk = desk_of(args)
    now = desk.names.now()
    if args.check:
        written = read(args.plan)
        _check(written, now)
        _tell(written, desk, now)
        return 0
    with recorded(desk, args.plan, "plan") as written:
        _check(written, now)
        desk.record.planned(written)
    _tell(written, desk, now)
    return 0


def preview_verb(args: argparse.Namespace) -> int:
    """Show what the drill would meet."""
    written = read(args.plan)
    check_plan(written, desk_of(args).names.now())
    reach(written)
    seen = look(written.plan.hosts.names)
    if args.json:
        found = {"hosts": [asdict(one) for one in seen], "undo": undo_lines(written.plan)}
        say(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        _tell_hosts(written.plan, seen)
    return 1 if any(one.error for one in seen) else 0


def approve_verb(args: argparse.Namespace) -> int:
    """Sign a plan."""
    desk = desk_of(args)
    if args.show:
        sys.stdout.write(statement(read(args.plan)).decode())
        return 0
    if args.key is None or args.by is None:
        raise BadArgument("approve needs --key FILE and --as NAME, or --show.")
    now = desk.names.now()
    with recorded(desk, args.plan, "approve") as written:
        _check(written, now)
        path = sign(written, args.key, args.by)
        signers = None if desk.site.allowed_signers is None else desk.site.path(desk.site.allowed_signers)
        if signers is None or not signers.is_file():
            say(f"Signed: {path}. Whose signatures count is not known here (allowed_signers): it was not checked.")
            return 0
        good, bad = approvals_of(written, signers, (written.plan.operator,), now)
        mine = [one for one in good if one.by == args.by]
        if not mine:
            path.unlink()
            why = next((one for one in bad if args.by in one), "it does not hold")
            raise Refused(f"{args.by} cannot approve {written.plan.drill}: {why}.")
        desk.record.planned(written)
        desk.record.approved(written, mine[0])
    say(f"{args.by} approves {written.plan.drill} with {mine[0].key}: {path}")
    return 0


def schedule_verb(args: argparse.Namespace) -> int:
    """Write units or data, end a schedule, or look for what was missed."""
    desk = desk_of(args)
    now = desk.names.now()
    if args.check:
        lines = end_dead_drills(desk.site.path(desk.site.drills), desk.record, recover_dead)
        lines += [_told(one) for one in record_missed(desk.record, now, _up_since(now))]
        say("\n".join(lines) or "every drill that was due is on record")
        return 0
    if args.plan is None:
        raise BadArgument("schedule needs a plan, or --check.")
    with recorded(desk, args.plan, "schedule") as written:
        if args.off:
            desk.record.planned(written, schedule="off")
            say(f"{written.plan.drill} is no longer due. Its units: systemctl disable --now {_timer(written)}")
            return 0
        _check(written, now)
        if args.awx is not None:
            text = awx_schedules(written, args.organization, args.awx)
            desk.record.planned(written, schedule=written.plan.timing.as_json())
            sys.stdout.write(text)
            return 0
        if desk.site.file is None:
            raise BadArgument(
                "A timer would write to another log than you do: put the site's settings into /etc/chaosgpu/site.yaml, "
                "or name their file (--settings)."
            )
        write_units(args.systemd, units_of(written, [_command()], desk.site.file, args.user))
        desk.record.planned(written, schedule=written.plan.timing.as_json())
    coming = [one for one in occurrences(written.plan.timing) if one.at > now][:3]
    say(f"Written to {args.systemd}. Then: systemctl enable --now {_timer(written)} {MISSED}.timer")
    for one in coming:
        say(f"due       {local(one.at, written.plan.window)}")
    return 0


def _told(one: Missed) -> str:
    """Tell whom the plan named that a drill was missed; return the line."""
    try:
        teller = Teller.of(one.force.timing.notify)
    except BadArgument as error:
        return f"{one.line} (nobody was told: {error})"
    teller.tell("drill-skipped", {"drill": one.force.drill, "due": one.due.name, "reason": one.reason})
    return " ".join([one.line, *(f"({why})" for why in teller.untold)])


def recover_dead(folder: DrillFolder, directory: Path) -> str | None:
    """Bring back the hosts of a run whose drill died; return what is left, or None.

    A run that outlives its drill is stopping in order: it is given the time for that.
    """
    until = time.monotonic() + _RECOVER_S
    while alive(directory) and time.monotonic() < until:
        time.sleep(_LOOK_EVERY_S)
    past = load(directory)
    if past.ended and not past.lost and not any(one.open for one in past.leases):
        return None
    words = [sys.executable, "-c", "import sys; from chaosgpu.cli.main import main; sys.exit(main(sys.argv[1:]))"]
    given = folder.said.get("inventory")
    named = [word for one in (given if isinstance(given, list) else []) for word in ("--inventory", str(one))]
    try:
        done = subprocess.run(
            [*words, "recover", directory.name, *named],
            env={**os.environ, "CHAOSGPU_RUNS": str(directory.parent)},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_RECOVER_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"its hosts could not be brought back: {error}"
    if done.returncode == 0:
        return None
    return (done.stderr.strip() or done.stdout.strip() or "recover said nothing").splitlines()[-1]


def _check(written: Written, now: dt.datetime) -> None:
    """Check the plan and what lint finds in its experiments."""
    for one in check_plan(written, now):
        found = [
            finding for finding in lint(read_experiment(written.beside(one.planned.file))) if finding.level == "error"
        ]
        if found:
            raise BadArgument(f"{one.planned.file}: {found[0].message} {found[0].advice} (chaosgpu lint shows all)")


def _tell(written: Written, desk: Desk, now: dt.datetime) -> None:
    plan = written.plan
    coming = [one for one in openings(plan.window) if one.closes > now]
    needed = max(plan.approvals.needed, desk.site.approvals)
    say(f"plan      {plan.drill}: {plan.title} (level {plan.level} of {plan.scope})")
    say(f"digest    {written.sha256}")
    say(f"hosts     {', '.join(plan.hosts.names)}; {plan.hosts.blast_radius} at most are touched")
    say(f"change    {plan.change_id or 'none'}")
    say(
        f"opens     {local(coming[0].opens, plan.window)} to {local(coming[0].closes, plan.window)}, "
        f"and {len(coming) - 1} more times"
    )
    for start in [one for one in occurrences(plan.timing) if one.at > now][:1]:
        say(f"due       {local(start.at, plan.window)}")
    for number, one in enumerate(plan.experiments, start=1):
        say(f"{number:<9} {one.file}, at most {one.deadline_minutes:g} min and {one.undo_minutes:g} for the undo")
    say(f"approvals {needed} needed, in {folder_of(written.path).name}/, until {plan.approvals.valid_until}")


def _tell_hosts(plan: Plan, seen: list[HostSeen]) -> None:
    for host in seen:
        say(f"{host.host}  {f'GIVES NO ANSWER: {host.error}' if host.error else 'answers'}")
        if host.halted:
            say(f"  halted {host.halted}")
        for lease in host.leases:
            say(f"  IN FORCE {lease}")
        if host.gpus_unknown and not host.error:
            say(f"  its GPUs are unknown: {host.gpus_unknown}")
        for gpu in host.gpus:
            listed = f"unknown ({gpu.unknown})" if gpu.processes is None else ", ".join(gpu.processes) or "none"
            say(f"  {gpu.uuid} ({gpu.name}); processes: {listed}")
        jobs = f"unknown ({host.slurm_unknown})" if host.slurm is None else ", ".join(host.slurm) or "none"
        say(f"  Slurm jobs: {jobs}")
    for one in plan.experiments:
        say(f"experiment {one.file}")
    say(f"faults    {', '.join(plan.faults)}")
    for number, line in enumerate(undo_lines(plan)):
        say(f"{'undo' if number == 0 else '':<9} {line}")


def _up_since(now: dt.datetime) -> dt.datetime:
    """Return when this machine's first process began: a container starts later than the kernel under it."""
    begun_s = 0.0
    with contextlib.suppress(OSError, ValueError, IndexError):
        fields = Path("/proc/1/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        begun_s = int(fields[_START_TIME]) / os.sysconf("SC_CLK_TCK")
    return now - dt.timedelta(seconds=time.clock_gettime(time.CLOCK_BOOTTIME) - begun_s)


def _timer(written: Written) -> str:
    return f"chaosgpu-drill-{written.plan.drill}.timer"


def _command() -> str:
    """Name the command as a unit must: by its whole path."""
    return str(Path(sys.executable).with_name("chaosgpu"))
