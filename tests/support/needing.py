# SPDX-License-Identifier: Apache-2.0
"""Tests that need a machine which not everybody has: elsewhere they are left out with a line, but in CI never.

A `conftest.py` makes one and gives its three methods the names of pytest's hooks.
"""

import os
import sys
from collections.abc import Callable

import pytest

__all__ = ["Needing", "say"]


def say(line: str) -> None:
    """Tell whoever waits for the tests."""
    sys.stderr.write(f"{line}\n")


class Needing:
    """The tests with one of these fixtures: what they need, why it cannot be had here, and what is built once."""

    def __init__(
        self, what: str, fixtures: frozenset[str], why_not: Callable[[], str | None], build: Callable[[], object]
    ) -> None:
        self._what, self._fixtures, self._why_not, self._build = what, fixtures, why_not, build
        self._left_out = ""

    def _needs(self, item: pytest.Item) -> bool:
        return isinstance(item, pytest.Function) and not self._fixtures.isdisjoint(item.fixturenames)

    def leave_out(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Leave them out where this machine cannot run them."""
        ours = [item for item in items if self._needs(item)]
        reason = self._why_not() if ours else None
        if reason is None:
            return
        if os.environ.get("CI") == "true":
            raise pytest.UsageError(
                f"{len(ours)} tests need {self._what}, and in CI they may not be left out. {reason}"
            )
        config.hook.pytest_deselected(items=ours)
        self._left_out = f"{len(ours)} tests on {self._what} were left out. {reason}"
        items[:] = [item for item in items if item not in ours]

    def prepare(self, session: pytest.Session) -> None:
        """Build what is built once now, where no test's time limit counts."""
        if not session.config.option.collectonly and any(map(self._needs, session.items)):
            self._build()

    def tell(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say in the summary what was left out."""
        if self._left_out:
            terminalreporter.write_line(self._left_out, yellow=True)
