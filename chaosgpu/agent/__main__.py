# SPDX-License-Identifier: Apache-2.0
"""`python -m chaosgpu.agent VERB`: one JSON object on standard input, one on standard output."""

import sys

from chaosgpu.agent.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], sys.stdin.buffer, sys.stdout.buffer))
