# SPDX-License-Identifier: Apache-2.0
"""What the experiments of these tests ask of their service: one answer, checked by it against what is known."""

import json
import time
import urllib.request

__all__ = ["canary_is_right", "wait"]


def canary_is_right(port: int, timeout_s: float = 5.0) -> bool:
    """Tell whether the service at 127.0.0.1 gave the right answer."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=timeout_s) as reply:
        return json.load(reply)["right"] is True


def wait(seconds: float) -> None:
    """Let the fault work for a while."""
    time.sleep(seconds)
