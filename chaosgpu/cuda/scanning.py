# SPDX-License-Identifier: Apache-2.0
"""`chaosgpu drift scan`: the hosts are asked first, and what judges them is loaded while they answer."""

import argparse
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

from chaosgpu.cuda.answers import answers_of
from chaosgpu.cuda.facts import Facts, write_facts

if TYPE_CHECKING:
    from chaosgpu.cuda.lock import Lock

__all__ = ["scan_hosts"]


def scan_hosts(args: argparse.Namespace) -> int:
    """Scan, print, and return the code of what was found."""
    lock = None if args.lock is None else _read(args.lock)
    Thread(target=_load_judges, daemon=True).start()
    answers = answers_of(args, args.hosts, lock)
    if args.keep is not None:
        write_facts(Path(args.keep), [one for one in answers.values() if isinstance(one, Facts)])
    from chaosgpu.cuda.judgement import judge  # noqa: PLC0415 (loaded meanwhile)

    return judge(answers, lock, as_json_text=args.json, explain=args.explain)


def _read(path: str) -> "Lock":
    from chaosgpu.cuda import lockfile  # noqa: PLC0415 (not without a lock file)

    return lockfile.read(Path(path))


def _load_judges() -> None:
    from chaosgpu.cuda.judgement import load  # noqa: PLC0415 (in a thread of its own)

    load()
