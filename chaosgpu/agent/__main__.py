# SPDX-License-Identifier: Apache-2.0
"""`python -m chaosgpu.agent VERB`: one JSON object on standard input, one on standard output."""

import sys

from chaosgpu.agent.main import main
from chaosgpu.agent.rooms import ROOMS, enter

if __name__ == "__main__":
    if sys.argv[1:] and sys.argv[1] in ROOMS:
        sys.exit(enter(sys.argv[1:]))
    sys.exit(main(sys.argv[1:], sys.stdin.buffer, sys.stdout.buffer))
