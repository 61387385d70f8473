# SPDX-License-Identifier: Apache-2.0
"""`chaosgpu drill run`, `status` and `stop`: a drill while it goes on."""

import argparse
import json
import signal
import sys
from types import FrameType

from chaosgpu.cli.drill_plan import recover_dead
from chaosgpu.cli.drill_site import check_sha256, desk_of, reach, recorded, say
from chaosgpu.cli.play_drill import play_step
from chaosgpu.drill.course import run_drill
from chaosgpu.drill.means import Means
from chaosgpu.drill.planfile import Written
from chaosgpu.drill.preview import look, refuse_busy_hosts
from chaosgpu.drill.room import room_of
from chaosgpu.drill.settle import end_dead_drills
from chaosgpu.drill.state import DrillFolder, every_drill, named_drill
from chaosgpu.fleet.ask import operator
from chaosgpu.lease.verdict import EXIT_CODES, STILL_RUNNING, Verdict

__all__ = ["run_verb", "status_verb", "stop_verb"]

_STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def run_verb(args: argparse.Namespace) -> int:
    """Run a drill to its end."""
    desk = desk_of(args)
    for line in end_dead_drills(desk.site.path(desk.site.drills), desk.record, recover_dead):
        say(line)
    with recorded(desk, args.plan, "run", scheduled=args.scheduled) as written:
        check_sha256(written, args.sha256)
        reach(written)
    received: list[str] = []

    def receive(number: int, _: FrameType | None) -> None:
        received.append(f"stopped by {signal.Signals(number).name}")

    before = {one: signal.signal(one, receive) for one in _STOPS}
    try:
        with room_of(sys.stdout) as room:
            means = Means(
                desk.site, desk.record, play_step, _free, room, operator(), desk.names,
                stopped=lambda: received[0] if received else None,
            )  # fmt: skip
            ended = run_drill(written, means, scheduled=args.scheduled)
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
    say(f"DRILL RECORD {desk.record.directory}; runs {desk.site.path(desk.site.drills) / ended.folder / 'runs'}")
    return EXIT_CODES[ended.verdict]


def _free(written: Written) -> None:
    refuse_busy_hosts(look(written.plan.hosts.names, with_jobs=False))


def status_verb(args: argparse.Namespace) -> int:
    """Say where drills stand; the exit code is that of the one that is named."""
    desk = desk_of(args)
    home = desk.site.path(desk.site.drills)
    chosen = [named_drill(home, args.name)] if args.name else every_drill(home)
    if args.json:
        shown = [{**one.said, "lives": one.lives} for one in chosen]
        say(json.dumps(shown, indent=2, ensure_ascii=False))
    else:
        for one in chosen:
            _tell(one)
        for missing in desk.record.read().missing:
            say(f"MISSING   {missing}")
        if not chosen:
            say(f"no drill was run from here ({home})")
    if not args.name:
        return STILL_RUNNING if any(one.lives for one in chosen) else 0
    verdict = chosen[0].said.get("verdict")
    if chosen[0].lives or not isinstance(verdict, str):
        return STILL_RUNNING if chosen[0].lives else EXIT_CODES[Verdict.INCONCLUSIVE]
    return EXIT_CODES[Verdict(verdict)]


def _tell(folder: DrillFolder) -> None:
    said = folder.said
    state = "under way" if folder.lives else said.get("verdict") or "DIED: chaosgpu drill schedule --check ends it"
    reason = f": {said['reason']}" if said.get("reason") else ""
    say(f"{said.get('drill')}  {folder.name}  {state}{reason}")
    change = f", change {said['change_id']}" if said.get("change_id") else ""
    say(f"          {said.get('title')}, by {said.get('by')}{change}")
    parts = said.get("parts")
    for part in parts if isinstance(parts, list) else []:
        if isinstance(part, dict):
            ended = f" {part.get('verdict')}: {part.get('reason')}" if part.get("verdict") else ""
            say(f"          {part.get('file')} {part.get('state')}{ended}")


def stop_verb(args: argparse.Namespace) -> int:
    """Ask a drill to stop, wait for its end, and halt its hosts where that is asked for."""
    desk = desk_of(args)
    folder = named_drill(desk.site.path(desk.site.drills), args.name)
    code = 0
    if folder.lives:
        folder.ask_to_stop(operator(), args.reason)
        if folder.ended_within(args.within_s):
            say(f"{folder.name} has ended: {folder.load().said.get('reason')}")
        else:
            say(f"{folder.name} has not ended within {args.within_s:g} s. At once: chaosgpu drill stop --halt")
            code = STILL_RUNNING
    else:
        say(f"{folder.name} is not under way")
    return max(code, _halt(args, folder)) if args.halt else code


def _halt(args: argparse.Namespace, folder: DrillFolder) -> int:
    """Halt its hosts as `chaosgpu halt` does."""
    from chaosgpu.cli.halt import run as halt  # noqa: PLC0415 (only then)

    inventory, hosts = folder.said.get("inventory"), folder.said.get("hosts")
    named = [str(one) for one in inventory] if isinstance(inventory, list) else []
    limit = ",".join(map(str, hosts)) if isinstance(hosts, list) and named else None
    return halt(
        argparse.Namespace(reason=args.reason, by=None, inventory=named or None, limit=limit, timeout_s=args.within_s)
    )
