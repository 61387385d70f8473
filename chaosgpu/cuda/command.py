# SPDX-License-Identifier: Apache-2.0
"""What the verbs of `chaosgpu drift` do: read, judge, print."""

import argparse
import datetime as dt
import json
import shlex
import sys
from pathlib import Path

from chaosgpu.cuda import lockfile
from chaosgpu.cuda.answers import answers_of, look_at, pairs
from chaosgpu.cuda.baseline import lock_from
from chaosgpu.cuda.compare import Difference, between, due_of
from chaosgpu.cuda.compatibility import compatibility
from chaosgpu.cuda.facts import Facts, read_facts
from chaosgpu.cuda.flat import Value, flat
from chaosgpu.cuda.judgement import judge
from chaosgpu.cuda.lock import flat_lock
from chaosgpu.cuda.manager import manager_of
from chaosgpu.cuda.pins import PREFERENCES, pins_of
from chaosgpu.cuda.report import difference_json, difference_lines, findings_text
from chaosgpu.cuda.rules import Level
from chaosgpu.cuda.scan import CLEAN, DRIFT, UNKNOWN
from chaosgpu.cuda.versionlocks import VERSIONLOCK, version_locks_of
from chaosgpu.cuda.whatif import new_findings
from chaosgpu.errors import BadArgument, ChaosGpuError

__all__ = ["baseline", "diff", "explain", "pin"]


def baseline(args: argparse.Namespace) -> int:
    """Write a lock file from hosts as they are; every one of them must answer."""
    groups = dict(pairs("--group", args.group)) or None
    named = [host for members in (groups or {}).values() for host in members.split(",")]
    answers = answers_of(args, named or args.hosts, None)
    lost = [f"{host}: {one}" for host, one in answers.items() if isinstance(one, ChaosGpuError)]
    if lost:
        raise BadArgument(f"No lock file is made of hosts that do not answer: {'; '.join(lost)}")
    hosts = {host: flat(one) for host, one in answers.items() if isinstance(one, Facts)}
    members = {name: text.split(",") for name, text in groups.items()} if groups else {"all": [*hosts]}
    missing = [host for names in members.values() for host in names if host not in hosts]
    if missing:
        raise BadArgument(f"There are no facts of {', '.join(missing)}.")
    wanted = {name: [hosts[host] for host in names] for name, names in members.items()}
    lock = lock_from(wanted, look_at(args, None), _today(), args.about)
    if args.output is None:
        _write(lockfile.dump(lock))
    else:
        lockfile.write(Path(args.output), lock, anew=args.anew)
        _write(f"{args.output}: {sum(len(flat_lock(one.locked)) for one in lock.groups.values())} values are locked, ")
        _write(f"{len(lock.exceptions)} hosts have exceptions. Read it, and take out what may be anything.\n")
    return CLEAN


def explain(args: argparse.Namespace) -> int:
    """Scan with what each difference breaks; with changes, print only what they would break."""
    changes = dict(pairs("--set", args.changes))
    lock = None if args.lock is None else lockfile.read(Path(args.lock))
    answers = answers_of(args, args.hosts, lock)
    if not changes:
        return judge(answers, lock, as_json_text=args.json, explain=True)
    lost = {host: str(one) for host, one in answers.items() if isinstance(one, ChaosGpuError)}
    facts = [one for one in answers.values() if isinstance(one, Facts)]
    new = [finding for one in facts for finding in new_findings(one, changes, compatibility())]
    if args.json:
        broken = [{"host": one.host, "rule": one.rule, "level": one.level.value, "what": one.what} for one in new]
        _write(json.dumps({"changes": changes, "findings": broken, "silent": lost}, indent=2) + "\n")
    else:
        _write(findings_text(new) or "no rule finds anything against it; what no rule knows may break all the same\n")
        for host, why in lost.items():
            _write(f"{host}: UNKNOWN, it gave no answer: {why}\n")
    if any(one.level is Level.BREAKS for one in new):
        return DRIFT
    return UNKNOWN if lost or any(one.level is Level.UNKNOWN for one in new) else CLEAN


def diff(args: argparse.Namespace) -> int:
    """Compare two lock files, or two files of facts, host by host."""
    before, after = _levelled(args.before), _levelled(args.after)
    found: list[Difference] = []
    for name in dict.fromkeys((*before, *after)):
        found += between(before.get(name, {}), after.get(name, {}), name)
    if args.json:
        _write(json.dumps([difference_json(one) for one in found], indent=2, ensure_ascii=False) + "\n")
    else:
        for one in found:
            _write("\n".join(difference_lines(one, "before", "after", explain=True)) + "\n")
        _write(f"{len(found)} differences\n" if found else "no difference\n")
    return DRIFT if found else CLEAN


def pin(args: argparse.Namespace) -> int:
    """Print what holds a host at its lock file; the playbook `pin` puts it there."""
    due = due_of(lockfile.read(Path(args.lock)), args.host, _today())
    manager = manager_of(due)
    found: dict[str, object] = {"manager": manager.name, "certain": manager.certain, "why": manager.why}
    if manager.name == "dnf":
        locks = version_locks_of(due)
        found |= {"file": VERSIONLOCK, "lines": [*locks.lines], "command": [*locks.command]}
        text = f"# {VERSIONLOCK}\n{locks.text}\n# or: {shlex.join(locks.command)}\n"
    else:
        pins = pins_of(due)
        found |= {"file": PREFERENCES, "preferences": pins.preferences, "holds": [*pins.holds]}
        text = f"# {PREFERENCES}\n{pins.preferences}\n# and then: apt-mark hold {' '.join(pins.holds)}\n"
    if args.json:
        _write(json.dumps(found, indent=2) + "\n")
    else:
        _write(f"# For {manager.name}: {manager.why}.\n{text}")
    return CLEAN


def _levelled(name: str) -> dict[str, dict[str, Value]]:
    """Return the values of a file, by group of a lock file or by host of kept facts."""
    path = Path(name)
    if path.suffix == ".json":
        return {host: dict(flat(one).values) for host, one in read_facts(path).items()}
    lock = lockfile.read(path)
    groups = {name: flat_lock(group.locked) for name, group in lock.groups.items()}
    return {**groups, **{host: flat_lock(one.locked) for host, one in lock.exceptions.items()}}


def _today() -> dt.date:
    return dt.datetime.now(dt.UTC).date()


def _write(text: str) -> None:
    sys.stdout.write(text)
