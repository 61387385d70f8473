# SPDX-License-Identifier: Apache-2.0
"""Plays the catalogue in both forms and compares verdict and finding with those of the file: `make catalogue-test`.

What ended as declared is not played again while its file is the same; `--again` does, `--only NAME` takes those alone,
`--databases` what is played on a vector database, `--figures` plays nothing.
"""

import argparse
import subprocess
import sys
from collections import deque
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from catalogue_kept import ROOT, Kept, Play, figures_of, plays_of
from chaosgpu.agent.errors import AgentError
from chaosgpu.catalogue.entries import read_catalogue
from chaosgpu.errors import ChaosGpuError
from figures import publish

# A play, and how it ended so far.
type Tried = tuple[Play, tuple[str, ...]]

_TRIES = 3
_FAILURES = (ChaosGpuError, AgentError, subprocess.SubprocessError, OSError, AssertionError)


def main() -> int:
    """Play, keep, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", default=[], help="an experiment, or one play of it; more than once")
    parser.add_argument("--databases", action="store_true", help="what is played on a vector database alone")
    parser.add_argument("--again", action="store_true", help="play also what ended as declared")
    parser.add_argument("--figures", action="store_true", help="play nothing, write the figures")
    args = parser.parse_args()
    plays = plays_of(read_catalogue(ROOT / "experiments"))
    kept = Kept(ROOT / "figures/catalogue/played.json")
    if not args.figures:
        asked = [play for play in plays if play.database or not args.databases]
        wanted = [play for play in asked if not args.only or {play.entry.name, play.key} & set(args.only)]
        _play([play for play in wanted if args.again or kept.lacks(play)], kept)
    return publish("catalogue", figures_of(plays, kept))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _play(plays: list[Play], kept: Kept) -> None:
    from catalogue_plays import group_of  # noqa: PLC0415 (figures need no lab)

    def when(play: Play) -> tuple[bool, tuple[str, str], str]:
        """Order them by group, with what takes hosts at the end."""
        return play.form.declared.needs.hosts > 0, group_of(play), play.key

    for group, several in groupby(sorted(plays, key=when), group_of):
        tries: deque[Tried] = deque((play, ()) for play in several)
        while tries:
            left = len(tries)
            try:
                _play_some(group, tries, kept)
            except _FAILURES as error:
                _say(f"{' '.join(group)} could not be played to its end: {error}")
                if len(tries) == left:
                    break


def _play_some(group: tuple[str, str], tries: deque[Tried], kept: Kept) -> None:
    """Play in one place until all is played, or until a play leaves it in a state that nobody knows."""
    from catalogue_plays import playing  # noqa: PLC0415 (as above)

    with playing(group) as player:
        while tries:
            play, before = tries.popleft()
            digest = play.digest  # a file that is changed meanwhile has not been played
            try:
                result = replace(player(play), tries=len(before) + 1, before=before, sha256=digest)
            except _FAILURES as error:
                _say(f"{play.key} could not be played: {error}")
                continue
            if result.holds(play) or result.tries == _TRIES:
                kept.keep(play, result)
                as_declared = "as declared" if result.holds(play) else f"NOT AS DECLARED ({result.expected})"
                _say(f"{play.key}: {as_declared}, {result.took_s} s: {result.told}")
                continue
            _say(f"{play.key}, try {result.tries}: {result.told}")
            tries.append((play, (*before, result.told)))
            if group[0] != "hosts":
                return


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    sys.exit(main())
