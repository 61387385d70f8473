# SPDX-License-Identifier: Apache-2.0
"""A control that lets a lifecycle give up soon on a host that cannot be reached; the deadline is $TEST_PAUSES_S."""

import os

from chaosgpu.lifecycle import back


def configure_control() -> None:
    """Shorten the pauses."""
    vars(back)["PAUSES_S"] = tuple(float(word) for word in os.environ.get("TEST_PAUSES_S", "1").split())
