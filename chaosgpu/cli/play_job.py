# SPDX-License-Identifier: Apache-2.0
"""One `chaos run` in a process of its own, out of the reach of an outer job's environment, and what came of it."""

import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from chaosgpu.errors import BadArgument, LedgerBroken
from chaosgpu.fleet.ansible.environment import FOREIGN
from chaosgpu.fleet.values import JsonObject, JsonValue
from chaosgpu.lease.directory import every_run, home
from chaosgpu.lifecycle.summary import summary_of

__all__ = ["job_environment", "play_job"]

_STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_PR_SET_PDEATHSIG = 1
# Who asks is written to the host's log and into the record; both name a person and no job.
_KEPT = frozenset({"AWX_USER_NAME", "TOWER_USER_NAME"})
_RUNS = "CHAOSGPU_RUNS"


type Starter = Callable[[Sequence[str], Mapping[str, str]], int]


def play_job(
    experiment: Path, settings: Sequence[str], dry: str | None, runs: Path | None, start: Starter | None = None
) -> tuple[JsonObject, int]:
    """Play an experiment to its end; return what came of it, and the exit code. `start` runs the command otherwise."""
    document = _read(experiment)
    values = _values(settings, document)
    with _recorded_in(runs):
        status, directory = _play(experiment, values, dry, start or _run)
    if directory is None:
        reason = f"chaos run ended with status {status} and has no record: a mistake in the experiment, or no guard"
        return {"run": None, "verdict": None, "reason": reason}, 1 if status else 0
    try:
        found = summary_of(directory)
    except LedgerBroken as error:
        return {"run": directory.name, "verdict": None, "reason": str(error)}, 1
    code = found["exit_code"]
    return found, code if isinstance(code, int) else 1


def _play(experiment: Path, values: JsonObject, dry: str | None, start: Starter) -> tuple[int, Path | None]:
    """Play it; return how the command ended, and where the record is."""
    before = {path.name for path in every_run(home())}
    with tempfile.TemporaryDirectory(prefix="chaosgpu-job-") as folder:
        given = Path(folder) / "variables.json"
        given.touch(mode=0o600)
        given.write_text(json.dumps({"configuration": values}))
        command = [sys.executable, "-m", "chaostoolkit", "--no-version-check", "--no-log-file", "run"]
        command += ["--journal-path", str(Path(folder) / "journal.json"), "--var-file", str(given)]
        command += [*(["--dry", dry] if dry else []), str(experiment)]
        status = start(command, job_environment(os.environ))
        return status, _directory(Path(folder) / "journal.json", before)


@contextmanager
def _recorded_in(runs: Path | None) -> Iterator[None]:
    """Let runs be recorded in this folder, here and in what is started, and no longer than that."""
    before = os.environ.get(_RUNS)
    if runs is not None:
        os.environ[_RUNS] = str(runs.absolute())
    try:
        yield
    finally:
        os.environ.pop(_RUNS, None)
        if before is not None:
            os.environ[_RUNS] = before


def _directory(journal: Path, before: Collection[str]) -> Path | None:
    """Find the run's record. Its journal names it, since others may run here; without one, the one that is new."""
    try:
        said = json.loads(journal.read_text())["chaosgpu"]["directory"]
    except (OSError, ValueError, LookupError, TypeError):
        said = None
    if isinstance(said, str):
        return Path(said)
    fresh = [path for path in every_run(home()) if path.name not in before]
    return fresh[0] if len(fresh) == 1 else None


def job_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without what belongs to an outer job: its callbacks would take our events for its own."""
    return {name: value for name, value in variables.items() if name in _KEPT or not FOREIGN.fullmatch(name)}


def _read(experiment: Path) -> Mapping[str, object]:
    """Read the experiment as Chaos Toolkit will."""
    from chaosgpu.lint import read  # noqa: PLC0415 (other subcommands need none of it)

    return read(experiment).data


def _values(settings: Sequence[str], document: Mapping[str, object]) -> JsonObject:
    """Read KEY=VALUE; Chaos Toolkit would ignore one that the experiment does not declare."""
    configuration = document.get("configuration")
    declared = configuration.keys() if isinstance(configuration, Mapping) else ()
    found: JsonObject = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or key not in declared:
            known = ", ".join(sorted(map(str, declared))) or "none"
            raise BadArgument(
                f"{key!r} is no key of the experiment's configuration, so it would be ignored; it declares: {known}. "
                "Nothing was played."
            )
        found[key] = _value(text)
    return found


def _value(text: str) -> JsonValue:
    """Read a value: JSON where it is some, else a text."""
    try:
        value: JsonValue = json.loads(text)
    except ValueError:
        return text
    return value


def _run(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run it, hand every stop on, and let it stop in order where we are killed."""
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr.fileno(),
        env=dict(environment),
        start_new_session=True,
        preexec_fn=_die_with_parent,  # noqa: PLW1509 (one thread)
    )

    def hand_on(number: int, _: FrameType | None) -> None:
        child.send_signal(number)

    before = {one: signal.signal(one, hand_on) for one in _STOPS}
    try:
        return child.wait()
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _die_with_parent() -> None:
    """Ask the kernel for SIGTERM, an orderly stop, when the one who started us is gone."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
