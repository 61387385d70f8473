# SPDX-License-Identifier: Apache-2.0
"""What each verb of `chaosgpu drift` does: read, judge, print."""

import argparse
import datetime as dt
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from chaosgpu.cuda import lockfile
from chaosgpu.cuda.baseline import lock_from
from chaosgpu.cuda.compare import Difference, between, due_of
from chaosgpu.cuda.compatibility import compatibility
from chaosgpu.cuda.facts import Facts, LookAt, read_facts, take_everyones_facts, take_facts, write_facts
from chaosgpu.cuda.flat import Value, flat
from chaosgpu.cuda.lock import Lock, flat_lock
from chaosgpu.cuda.pins import PREFERENCES, pins_of
from chaosgpu.cuda.report import as_json, as_text, difference_json, difference_lines, findings_text
from chaosgpu.cuda.rules import Level
from chaosgpu.cuda.scan import CLEAN, DRIFT, UNKNOWN, Scan, scan
from chaosgpu.cuda.whatif import new_findings
from chaosgpu.errors import BadArgument, ChaosGpuError
from chaosgpu.fleet.targets import LOCAL

__all__ = ["baseline", "diff", "explain", "pin", "scan_hosts"]


def baseline(args: argparse.Namespace) -> int:
    """Write a lock file from hosts as they are; every one of them must answer."""
    groups = dict(_pairs("--group", args.group)) or None
    named = [host for members in (groups or {}).values() for host in members.split(",")]
    answers = _answers(args, named or args.hosts, None)
    lost = [f"{host}: {one}" for host, one in answers.items() if isinstance(one, ChaosGpuError)]
    if lost:
        raise BadArgument(f"No lock file is made of hosts that do not answer: {'; '.join(lost)}")
    hosts = {host: flat(one) for host, one in answers.items() if isinstance(one, Facts)}
    members = {name: text.split(",") for name, text in groups.items()} if groups else {"all": [*hosts]}
    missing = [host for names in members.values() for host in names if host not in hosts]
    if missing:
        raise BadArgument(f"There are no facts of {', '.join(missing)}.")
    wanted = {name: [hosts[host] for host in names] for name, names in members.items()}
    lock = lock_from(wanted, _look_at(args, None), _today(), args.about)
    if args.output is None:
        _write(lockfile.dump(lock))
    else:
        lockfile.write(Path(args.output), lock, anew=args.anew)
        _write(f"{args.output}: {sum(len(flat_lock(one.locked)) for one in lock.groups.values())} values are locked, ")
        _write(f"{len(lock.exceptions)} hosts have exceptions. Read it, and take out what may be anything.\n")
    return CLEAN


def scan_hosts(args: argparse.Namespace) -> int:
    """Scan, print, and return the code of what was found."""
    found = _scan(args, keep=args.keep)
    _print(found, as_json_text=args.json, explain=args.explain)
    return found.exit_code


def explain(args: argparse.Namespace) -> int:
    """Scan with what each difference breaks; with changes, print only what they would break."""
    changes = dict(_pairs("--set", args.changes))
    if not changes:
        found = _scan(args)
        _print(found, as_json_text=args.json, explain=True)
        return found.exit_code
    lock = None if args.lock is None else lockfile.read(Path(args.lock))
    answers = _answers(args, args.hosts, lock)
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
    pins = pins_of(due_of(lockfile.read(Path(args.lock)), args.host, _today()))
    if args.json:
        found = {"file": PREFERENCES, "preferences": pins.preferences, "holds": [*pins.holds]}
        _write(json.dumps(found, indent=2) + "\n")
    else:
        _write(f"# {PREFERENCES}\n{pins.preferences}\n# and then: apt-mark hold {' '.join(pins.holds)}\n")
    return CLEAN


def _scan(args: argparse.Namespace, keep: str | None = None) -> Scan:
    lock = None if args.lock is None else lockfile.read(Path(args.lock))
    answers = _answers(args, args.hosts, lock)
    if keep is not None:
        write_facts(Path(keep), [one for one in answers.values() if isinstance(one, Facts)])
    return scan(answers, lock, compatibility(), _today())


def _answers(args: argparse.Namespace, hosts: Sequence[str], lock: Lock | None) -> Mapping[str, Facts | ChaosGpuError]:
    if args.facts is not None:
        kept = read_facts(Path(args.facts))
        strange = [host for host in hosts if host not in kept]
        if strange:
            raise BadArgument(f"{args.facts} has no facts of {', '.join(strange)}; it has: {', '.join(kept)}.")
        return {host: kept[host] for host in hosts or kept}
    if args.everyone and not hosts:
        return take_everyones_facts(_look_at(args, lock), args.timeout_s)
    locked = [host for group in lock.groups.values() for host in group.hosts] if lock else []
    return take_facts(hosts or locked or [LOCAL], _look_at(args, lock), args.timeout_s)


def _look_at(args: argparse.Namespace, lock: Lock | None) -> LookAt:
    """Return what was named on the command line and in the lock file together."""
    environments = dict(_pairs("--environment", args.environment))
    if lock is None:
        return LookAt(args.service, environments, args.engines, args.triton)
    also = lock.look_at
    return LookAt(
        [*dict.fromkeys((*also.services, *args.service))],
        {**also.environments, **environments},
        [*dict.fromkeys((*also.engines, *args.engines))],
        args.triton or also.triton,
    )


def _levelled(name: str) -> dict[str, dict[str, Value]]:
    """Return the values of a file, by group of a lock file or by host of kept facts."""
    path = Path(name)
    if path.suffix == ".json":
        return {host: dict(flat(one).values) for host, one in read_facts(path).items()}
    lock = lockfile.read(path)
    groups = {name: flat_lock(group.locked) for name, group in lock.groups.items()}
    return {**groups, **{host: flat_lock(one.locked) for host, one in lock.exceptions.items()}}


def _pairs(option: str, given: Sequence[str]) -> list[tuple[str, str]]:
    found = []
    for one in given:
        name, sign, value = one.partition("=")
        if not (name and sign and value):
            raise BadArgument(f"{option} must be NAME=VALUE, not {one!r}.")
        found.append((name, value))
    return found


def _print(found: Scan, *, as_json_text: bool, explain: bool) -> None:
    if as_json_text:
        _write(json.dumps(as_json(found), indent=2, ensure_ascii=False) + "\n")
    else:
        _write(as_text(found, explain=explain))


def _today() -> dt.date:
    return dt.datetime.now(dt.UTC).date()


def _write(text: str) -> None:
    sys.stdout.write(text)
