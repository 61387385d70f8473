# SPDX-License-Identifier: Apache-2.0
"""`make bench-up`, `make bench-down`: a bench that stays between commands; run something on it, show it."""

import argparse
import sys
import time

from bench.hosts import BENCHES, Bench
from bench.leftovers import only_one, sweep
from bench.machine import why_not
from bench.plan import BenchFailed

__all__ = ["main"]

_KEPT = BENCHES / "kept"


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _up(args: argparse.Namespace) -> int:
    reason = why_not()
    if reason is not None:
        raise BenchFailed(reason)
    bench = Bench(_KEPT)
    start = time.monotonic()
    hosts = bench.up(args.hosts, _say, kept=True)
    _say(f"{len(hosts)} hosts answer over SSH after {time.monotonic() - start:.1f} s")
    for host in hosts:
        _say(f"{host.name}  {host.address}  {host.memory_mib():.0f} MiB")
    _say("a command on one: scripts/bench-run.sh gpu1 nvidia-smi; the end: make bench-down")
    return 0


def _down(_: argparse.Namespace) -> int:
    Bench(_KEPT).down()
    with only_one(BENCHES):
        swept = sweep(BENCHES)
    _say("the bench is down" + "".join(f"; also swept {name}" for name in swept))
    return 0


def _run(args: argparse.Namespace) -> int:
    bench = Bench.attach(_KEPT)
    found = {host.name: host for host in bench.hosts}
    if args.host not in found:
        raise BenchFailed(f"There is no host {args.host!r}; up are: {', '.join(found) or 'none (make bench-up)'}.")
    done = found[args.host].run(args.command, sys.stdin.read() if args.stdin else None, args.timeout_s)
    found[args.host].disconnect()
    sys.stdout.write(done.stdout)
    sys.stderr.write(done.stderr)
    return done.returncode


def main(argv: list[str]) -> int:
    """Carry out one command."""
    parser = argparse.ArgumentParser(prog="bench", description="Real systemd hosts on this machine.")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    up = verbs.add_parser("up", help="boot the hosts")
    up.add_argument("hosts", type=int, nargs="?", default=8, help="how many (default: 8)")
    up.set_defaults(do=_up)
    verbs.add_parser("down", help="end them, and whatever an interrupted run has left").set_defaults(do=_down)
    run = verbs.add_parser("run", help="run a command on one")
    run.add_argument("--stdin", action="store_true", help="hand standard input on")
    run.add_argument("--timeout-s", type=float, default=60.0)
    run.add_argument("host")
    run.add_argument("command", nargs=argparse.REMAINDER)
    run.set_defaults(do=_run)
    args = parser.parse_args(argv)
    try:
        return int(args.do(args))
    except BenchFailed as error:
        sys.stderr.write(f"{error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
