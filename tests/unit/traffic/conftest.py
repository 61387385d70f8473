# SPDX-License-Identifier: Apache-2.0
"""A service with known latencies, and a guarded run."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from chaosgpu.lease.ids import Names
from chaosgpu.lease.ledger import Ledger
from chaosgpu.lease.piped import end_piped
from chaosgpu.lease.run import Run, activate, deactivate
from chaosgpu.traffic import running

SUPPORT = Path(__file__).resolve().parents[2] / "support"

type Requests = Callable[..., str]


@pytest.fixture(scope="session")
def service() -> Iterator[str]:
    """Run the timed service and give its address."""
    with subprocess.Popen(
        [sys.executable, str(SUPPORT / "timed_service.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        process.stdin.close()
        process.wait(10)


@pytest.fixture
def requests(tmp_path: Path) -> Requests:
    """Write a file of requests for these paths."""

    def written(*paths: str) -> str:
        asked = [{"path": path, "expect": {"json_holds": {"answer": 42}}} for path in paths]
        (tmp_path / "requests.json").write_text(json.dumps({"version": 1, "requests": asked}))
        return str(tmp_path / "requests.json")

    return written


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Make a run as the guard control would have made it; what it started is stopped."""
    folder = tmp_path / "run"
    (folder / "series").mkdir(parents=True)
    made = Run("test-run", folder, Ledger(folder / "ledger.jsonl", "test-run", lambda: datetime.now(UTC)), Names())
    activate(made)
    try:
        yield made
    finally:
        for name in list(running._RUNNING):
            end_piped(running._RUNNING.pop(name).process, 0.0)
        deactivate()
