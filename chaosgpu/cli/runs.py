# SPDX-License-Identifier: Apache-2.0
"""`chaosgpu runs`: the runs of this folder with their verdicts, and one of them in full."""

import argparse
import json
import sys
from typing import TYPE_CHECKING

from chaosgpu.errors import ChaosGpuError

if TYPE_CHECKING:
    from chaosgpu.lease.history import Past, PastLease

__all__ = ["add_parser", "run"]

_ASK_S = 20.0


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Declare the subcommand and its arguments."""
    parser = subparsers.add_parser(
        "runs",
        help="list the runs of this folder, or show one with its verdict, leases and ledger",
        description="List the runs under .chaosgpu/runs (or $CHAOSGPU_RUNS), or show one.",
        epilog="Exit code of show: 0 passed or dry, 3 deviated, 4 inconclusive or lost, 5 unsafe, 6 still running.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of lines")
    parser.set_defaults(verb="list", name=None)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB")
    show = verbs.add_parser("show", help="show one run; its verdict is the exit code")
    show.add_argument(
        "name", nargs="?", metavar="RUN", help="the run's name or the beginning of it (default: the newest)"
    )
    show.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON instead of lines")
    return parser


def run(args: argparse.Namespace) -> int:
    """List the runs, or show one and return the exit code of its verdict."""
    from chaosgpu.lease.directory import every_run, home  # noqa: PLC0415 (other subcommands need none of it)
    from chaosgpu.lease.history import find, load  # noqa: PLC0415 (other subcommands need none of it)

    runs = home()
    if args.verb != "show":
        every = [load(directory) for directory in every_run(runs)]
        _write_list(every, as_json=args.json)
        return 0
    return _show(load(find(runs, args.name)), as_json=args.json)


def _write_list(every: "list[Past]", *, as_json: bool) -> None:
    """Print one line a run."""
    if as_json:
        _write(json.dumps([_as_json(past) for past in every], indent=2, ensure_ascii=False))
        return
    if not every:
        _write("no runs here")
    for past in every:
        said = "running" if past.verdict is None else past.verdict.value
        lost = " (lost)" if past.lost else ""
        broken = "" if not past.problems else " [the ledger does not hold]"
        _write(f"{past.directory.name}  {said + lost:<20}  {past.title}{broken}")


def _show(past: "Past", *, as_json: bool) -> int:
    """Print one run; a lost run's leases are asked of the host, whose own records are the truth."""
    from chaosgpu.lease.verdict import EXIT_CODES, Verdict  # noqa: PLC0415 (other subcommands need none of it)

    code = past.exit_code
    host = _ask_host(past) if past.lost and any(lease.open for lease in past.leases) else {}
    if host is None or "stuck" in host.values():
        code = EXIT_CODES[Verdict.UNSAFE]
    if as_json:
        _write(json.dumps(_as_json(past) | {"host": host, "exit_code": code}, indent=2, ensure_ascii=False))
        return code
    _write(f"{past.directory.name}: {past.title}")
    _write(f"verdict   {'running' if past.verdict is None else past.verdict.value}: {past.reason}")
    for lease in past.leases:
        _write_lease(lease, None if host is None else host.get(lease.lease))
    if host is None:
        _write("host      cannot say what is still in force: `chaosgpu leases`, `chaosgpu recover`")
    if past.lost and not past.ended:
        _write(f"recover   chaosgpu recover {past.directory.name}")
    _write(f"ledger    {past.lines} lines, {'the chain holds' if not past.problems else 'THE CHAIN DOES NOT HOLD'}")
    for problem in past.problems:
        _write(f"          {problem}")
    _write(f"record    {past.directory}")
    return code


def _write_lease(lease: "PastLease", on_host: str | None) -> None:
    """Print one lease: what was observed, its countdown, what was restored."""
    from chaosgpu.lease.lines import brief  # noqa: PLC0415 (other subcommands need none of it)

    _write(f"lease     {lease.lease}  {lease.fault} on {lease.host}: {lease.state}")
    if lease.observed:
        left = "" if lease.expires_in_s is None else f" (the host would have ended it after {lease.expires_in_s:.0f} s"
        if left:
            longest = lease.max_duration_s or 0.0
            renewed = longest > (lease.expires_in_s or 0.0) + 1.0
            left += f" without this run, at the latest after {longest:.0f} s)" if renewed else ")"
        _write(f"          observed {brief(lease.observed)}{left}")
    if lease.restored:
        _write(f"          restored {brief(lease.restored)}")
    if lease.reason:
        _write(f"          because  {lease.reason}")
    if on_host is not None:
        _write(f"          on the host it is now: {on_host}")


def _ask_host(past: "Past") -> dict[str, str] | None:
    """Ask the hosts of a lost run, by its recorded names, for its leases; None where one cannot say."""
    from chaosgpu.fleet.ask import use_inventory  # noqa: PLC0415 (other subcommands need none of it)
    from chaosgpu.fleet.everywhere import ask_everywhere  # noqa: PLC0415 (likewise)
    from chaosgpu.fleet.targets import LOCAL  # noqa: PLC0415 (likewise)
    from chaosgpu.fleet.values import objects, text  # noqa: PLC0415 (likewise)

    if past.inventory is not None:
        use_inventory(past.inventory)
    found: dict[str, str] = {}
    for answer in ask_everywhere(past.hosts or (LOCAL,), "list", {"run": past.directory.name}, _ASK_S).values():
        try:
            if isinstance(answer, ChaosGpuError):
                raise answer
            found |= {text(lease, "lease"): text(lease, "state") for lease in objects(answer, "leases")}
        except ChaosGpuError as error:
            sys.stderr.write(f"{error}\n")
            return None
    return found


def _as_json(past: "Past") -> dict[str, object]:
    """Return a run as JSON."""
    return {
        "run": past.directory.name,
        "title": past.title,
        "started": past.started,
        "verdict": None if past.verdict is None else past.verdict.value,
        "reason": past.reason,
        "lost": past.lost,
        "leases": [vars(lease) for lease in past.leases],
        "ledger": {"lines": past.lines, "problems": list(past.problems)},
        "directory": str(past.directory),
    }


def _write(line: str) -> None:
    sys.stdout.write(f"{line}\n")
