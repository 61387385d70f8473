# SPDX-License-Identifier: Apache-2.0
"""`chaosgpu leases`: what is held anywhere, whoever asked for it, as the hosts say; stuck ones come first."""

import argparse
import json
import sys
from typing import TYPE_CHECKING

from chaosgpu.cli.fleet import add_options, ask_meant

if TYPE_CHECKING:
    from chaosgpu.fleet.values import JsonObject

__all__ = ["OPEN", "add_parser", "run"]

# As `deviated` and `inconclusive` in the table of verdicts: something is not as it was, or nobody knows.
OPEN = 3
_UNKNOWN = 4
_STUCK = 5


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Declare the subcommand and its arguments."""
    parser = subparsers.add_parser(
        "leases",
        help="list what is held on the known hosts now, whoever asked for it; stuck leases first",
        description="Ask every known host for its open leases. A host that is asked ends what is over.",
        epilog=f"Exit code: 0 none is open, {OPEN} some are, {_UNKNOWN} a host could not say, {_STUCK} some are stuck.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of lines")
    parser.add_argument("--verify", action="store_true", help="look again whether each fault is in force")
    add_options(parser)
    parser.add_argument("--timeout-s", type=float, default=60.0, metavar="SECONDS", help="for each host (default: 60)")
    return parser


def run(args: argparse.Namespace) -> int:
    """Ask, print, and return the exit code."""
    from chaosgpu.fleet.values import objects  # noqa: PLC0415 (other subcommands need none of it)

    answers = ask_meant(args, "list", {"verify": args.verify})
    cut_off = {host: str(answer) for host, answer in answers.items() if isinstance(answer, Exception)}
    leases: list[JsonObject] = []
    halted: dict[str, object] = {}
    for host, answer in answers.items():
        if isinstance(answer, Exception):
            continue
        leases += [{"host": host, **lease} for lease in objects(answer, "leases")]
        if answer.get("halted") is not None:
            halted[host] = answer["halted"]
    stuck = _with_before([lease for lease in leases if lease.get("state") == "stuck"], args.timeout_s)
    rest = [lease for lease in leases if lease.get("state") != "stuck"]
    code = _STUCK if stuck else _UNKNOWN if cut_off else OPEN if rest else 0
    if args.json:
        found = {"leases": [*stuck, *rest], "halted": halted, "cut_off": cut_off, "exit_code": code}
        _write(json.dumps(found, indent=2, ensure_ascii=False))
        return code
    for lease in stuck:
        _write_stuck(lease)
    for lease in rest:
        _write_lease(lease)
    _write_hosts(cut_off, halted, empty=not leases)
    return code


def _with_before(leases: "list[JsonObject]", timeout_s: float) -> "list[JsonObject]":
    """Fetch what stuck leases were to put back."""
    from chaosgpu.errors import ChaosGpuError  # noqa: PLC0415 (other subcommands need none of it)
    from chaosgpu.fleet.ask import Question, ask_all  # noqa: PLC0415 (likewise)
    from chaosgpu.fleet.values import whole_object  # noqa: PLC0415 (likewise)

    records = ask_all(
        [Question(str(lease["host"]), "record", {"lease": lease.get("lease")}, timeout_s) for lease in leases]
    )
    undo = [{} if isinstance(one, ChaosGpuError) else whole_object(one, "undo") for one in records]
    return [{**lease, "before": whole_object(one, "prior")} for lease, one in zip(leases, undo, strict=True)]


def _write_stuck(lease: "JsonObject") -> None:
    """Print a stuck lease and what to do by hand."""
    from chaosgpu.fleet.targets import LOCAL  # noqa: PLC0415 (other subcommands need none of it)
    from chaosgpu.fleet.values import whole_object  # noqa: PLC0415 (likewise)

    there = "" if lease["host"] == LOCAL else f" --inventory … --limit {lease['host']}"
    _write(f"STUCK  {_named(lease)}")
    _write(f"       because   {lease.get('reason') or 'no reason given'}")
    before = whole_object(lease, "before")
    _write(f"       it was    {json.dumps(before, ensure_ascii=False) if before else 'see the record, it is damaged'}")
    _write(f"       by hand   mend the cause, then: chaosgpu agent undo --lease {lease.get('lease')}{there}")
    _write(f"       record    chaosgpu agent record --lease {lease.get('lease')}{there}")
    _write(f"       holds     {_claims(lease)}")


def _write_lease(lease: "JsonObject") -> None:
    """Print a lease that is open and not stuck."""
    from chaosgpu.fleet.values import number  # noqa: PLC0415 (other subcommands need none of it)

    left = number(lease, "expires_in_s")
    ends = "" if left is None else f", ends in {left:.0f} s unless it is renewed"
    seen = {True: ", seen in force", False: ", NOT SEEN IN FORCE"}
    verified = lease.get("verified")
    _write(f"{lease.get('state')!s:<6} {_named(lease)}{ends}{seen[verified] if isinstance(verified, bool) else ''}")
    _write(f"       holds     {_claims(lease)}")
    if lease.get("reason"):
        _write(f"       because   {lease['reason']}")


def _write_hosts(cut_off: dict[str, str], halted: dict[str, object], *, empty: bool) -> None:
    """Print what counts for a whole host."""
    from chaosgpu.cli.switch import sentence  # noqa: PLC0415 (other subcommands need none of it)
    from chaosgpu.fleet.everywhere import CUT_OFF  # noqa: PLC0415 (likewise)

    for host, why in cut_off.items():
        _write(f"{host}  {CUT_OFF}, nobody knows what is in force there: {why}")
    if empty and not cut_off:
        _write("no lease is open")
    for host, latched in halted.items():
        _write(f"{host}  is halted {sentence(latched)}")


def _named(lease: "JsonObject") -> str:
    return f"{lease.get('lease')}  {lease.get('fault')} on {lease['host']}, run {lease.get('run')}"


def _claims(lease: "JsonObject") -> str:
    claims = lease.get("claims")
    return ", ".join(str(claim) for claim in claims) if isinstance(claims, list) and claims else "nothing"


def _write(line: str) -> None:
    sys.stdout.write(f"{line}\n")
