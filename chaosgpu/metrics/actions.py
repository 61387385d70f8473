# SPDX-License-Identifier: Apache-2.0
"""Note a metrics page, so that probes can tell what changed since. Nothing is changed by it."""

from typing import Any

__all__ = ["note_metrics"]


def note_metrics(url: str, name: str = "start", path: str = "/metrics", timeout_s: float = 5) -> dict[str, Any]:
    """Note all samples of a metrics page in the run's record.

    {"name": "what the gateway has counted so far", "type": "action", "provider": {"type": "python",
     "module": "chaosgpu.metrics.actions", "func": "note_metrics", "arguments": {"url": "http://127.0.0.1:9100"}}}

    url: http://HOST:PORT. name: for the probes' `since`, and the file `series/metrics-NAME.json`. path: of the page.
    timeout_s: seconds. Returns {"name", "url", "samples"}. Raises Unreachable, BadArgument, NoGuard without the guard.
    """
    from chaosgpu.metrics import work  # noqa: PLC0415 (validation imports every named module)

    return work.noted(url, name, path, timeout_s)
