# SPDX-License-Identifier: Apache-2.0
"""`make mutation`: plant each small mistake in the safety kernel, and see whether a test finds it.

Nothing is written into the working tree: a child process imports the mutant in place of the file and runs the tests.
Goes on where the last session stopped; `--sample N` plays a fixed share of them; results are kept in
`figures/safety/mutation.json` and count only for the kernel and the tests that they were made with.

Why not a published tool: mutmut leaves decorated functions and everything outside functions alone, here the step that
holds the lock, the states and the back-off; cosmic-ray writes into the working tree and starts Python for each mutant.
"""

import argparse
import importlib.abc
import importlib.machinery
import importlib.util
import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from types import ModuleType

import quick_tests
from kernel import KERNEL, ROOT
from mutants import Mutant, mutants
from mutation import Results, figures

__all__ = ["main"]

# The fast ones first: what they miss has to stand the whole machine.
QUICK = tuple(f"tests/unit/agent/test_kernel_{what}.py" for what in ("record", "lock", "apply", "undo", "over"))
MACHINE = "tests/unit/agent/test_state_machine.py"
_EXAMPLES = 25
_PATIENCE_S = 120.0
_KILLED, _MISSED, _SURVIVED = "killed", "missed by the quick tests", "survived"


class _Planted(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports the mutant wherever the file is imported."""

    def __init__(self, file: str, source: str) -> None:
        self._module = file.removesuffix(".py").replace("/", ".")
        self._path, self._source = str(ROOT / file), source

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002 (contract)
        target: ModuleType | None = None,  # noqa: ARG002 (contract)
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._module:
            return None
        return importlib.util.spec_from_loader(fullname, self, origin=self._path)

    def exec_module(self, module: ModuleType) -> None:
        module.__file__ = self._path
        exec(compile(self._source, self._path, "exec"), module.__dict__)  # noqa: S102 (this is what it is for)


def every_mutant() -> list[tuple[str, Mutant]]:
    """Return all mutants of the kernel with their files."""
    return [(file, mutant) for file in KERNEL for mutant in mutants(file, (ROOT / file).read_text())]


def _test(planted: _Planted | None, scratch: str, *, machine: bool) -> None:
    """Run the tests in this process; raises what the first that fails raises."""
    if planted is not None:
        sys.meta_path.insert(0, planted)
    os.mkdir(scratch)  # noqa: PTH102 (a child of the kernel's tests has no time to lose)
    if machine:
        quick_tests.load(ROOT / MACHINE).play(_EXAMPLES)
    else:
        for name in QUICK:
            quick_tests.run(quick_tests.load(ROOT / name), scratch)


def _start(file: str, mutant: Mutant | None, *, machine: bool) -> int:
    pid = os.fork()
    if pid:
        return pid
    status, err, scratch = 2, os.dup(2), f"/dev/shm/mutation-{os.getpid()}"  # noqa: S108 (syncs cost nothing there)
    try:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nothing, stream)
        _test(None if mutant is None else _Planted(file, mutant.source), scratch, machine=machine)
        status = 0
    except BaseException as error:  # noqa: BLE001 (a mutant may break anything, and that is being found)
        status = 1
        if mutant is None:
            os.write(err, f"{type(error).__name__}: {error}\n".encode())
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        os._exit(status)


def run(results: Results, chosen: list[tuple[str, Mutant]], workers: int, until_s: float) -> None:
    """Play those that have no result yet, first all on the quick tests, then what these missed on the machine."""
    for machine, lasting in ((False, _MISSED), (True, _SURVIVED)):
        seen = (_MISSED,) if machine else (None,)
        waiting = [(file, one) for file, one in chosen if results.found.get(one.key, {}).get("result") in seen]
        running: dict[int, tuple[str, Mutant, float]] = {}
        while running or (waiting and time.monotonic() < until_s):
            while waiting and len(running) < workers and time.monotonic() < until_s:
                file, mutant = waiting.pop(0)
                running[_start(file, mutant, machine=machine)] = (file, mutant, time.monotonic())
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid in running:
                file, mutant, _ = running.pop(pid)
                results.keep(mutant.key, file, mutant.what, lasting if status == 0 else _KILLED)
            for late, (_, _, since_s) in running.items():
                if time.monotonic() - since_s > _PATIENCE_S:  # a loop without an end is found, too
                    os.killpg(late, signal.SIGKILL)
            time.sleep(0.02)


def main() -> int:
    """Play the mutants, print what survived; 1 if a target does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="start no mutant after this long")
    parser.add_argument("--workers", type=int, default=2, help="how many are played at once")
    parser.add_argument("--again", action="store_true", help="play those again that survived")
    parser.add_argument("--only", default="", help="only mutants whose file or line has this in it")
    arguments = parser.parse_args()
    _load()
    if any(os.waitpid(_start("", None, machine=machine), 0)[1] for machine in (False, True)):
        sys.stderr.write("The tests do not pass on the kernel as it is, so they would find every mutant.\n")
        return 1
    results = Results.load()
    if arguments.again:
        results.forget_survivors()
    chosen = [(file, mutant) for file, mutant in every_mutant() if arguments.only in f"{file}: {mutant.what}"]
    results.planned = len(every_mutant())
    run(results, chosen, arguments.workers, time.monotonic() + 60 * arguments.minutes)
    results.save()
    for file, what in results.survivors():
        print(f"survived: {file}: {what}")
    for figure in figures():
        print(f"{figure.name}: {figure.value} {figure.unit} ({figure.target})")
    return 1 if any(figure.holds is False for figure in figures()) else 0


def _load() -> None:
    """Load what every child needs, and nothing of ours: that is what may be mutated."""
    sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "benchmarks")]
    os.chdir(ROOT)
    import unittest.mock  # noqa: F401, PLC0415 (for the children)

    import hypothesis.stateful  # noqa: F401, PLC0415 (as above)
    import pytest  # noqa: F401, PLC0415 (as above)


if __name__ == "__main__":
    sys.exit(main())
