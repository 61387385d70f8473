# SPDX-License-Identifier: Apache-2.0
"""Run a module of plain tests without pytest, which takes longer to start than most mutants take to be found.

Knows `parametrize` and the fixtures of the kernel's quick tests, and nothing else; `make test` runs them with pytest.
"""

import contextlib
import importlib.util
import inspect
import io
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

__all__ = ["load", "run"]


def load(path: Path) -> ModuleType:
    """Import a file of tests."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be imported.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(module: ModuleType, scratch: str) -> int:
    """Run every test of the module; return how many there are, raise what the first that fails raises."""
    count = 0
    for name, test in list(vars(module).items()):
        if name.startswith("test_") and callable(test):
            for given in _cases(test):
                _run_one(test, given, scratch)
                count += 1
    return count


def _cases(test: Callable[..., Any]) -> Iterator[dict[str, Any]]:
    marks = [mark for mark in getattr(test, "pytestmark", []) if mark.name == "parametrize"]
    if not marks:
        yield {}
    for mark in marks:
        names, values = mark.args
        names = [names] if isinstance(names, str) else list(names)
        for value in values:
            yield dict(zip(names, [value] if len(names) == 1 else value, strict=True))


def _run_one(test: Callable[..., Any], given: dict[str, Any], scratch: str) -> None:
    from support.kernel_steps import a_bench, a_holder  # noqa: PLC0415 (it imports the kernel, which may be a mutant)

    said = io.StringIO()
    with contextlib.ExitStack() as stack:
        for name in inspect.signature(test).parameters:
            if name == "bench":
                folder = stack.enter_context(tempfile.TemporaryDirectory(dir=scratch))
                given["bench"] = stack.enter_context(a_bench(Path(folder)))
            elif name == "holder":
                given["holder"] = stack.enter_context(a_holder())
            elif name == "capsys":
                stack.enter_context(contextlib.redirect_stderr(said))
                given["capsys"] = SimpleNamespace(readouterr=lambda: SimpleNamespace(err=said.getvalue()))
        test(**given)
