# SPDX-License-Identifier: Apache-2.0
"""`python3 -m chaosgpu.agent.service VERB` is `agent service VERB`: rooms.py reads, logs, and calls `main` here."""

import sys

from chaosgpu.agent.rooms import enter
from chaosgpu.agent.service.verbs import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(enter(["service", *sys.argv[1:]]))
