# SPDX-License-Identifier: Apache-2.0
"""A controller: asks the agent for a lease and stays; `caller.py REQUEST` prints the answer and stays until killed."""

import subprocess
import sys


def main(request: str) -> None:
    """Apply, print, wait."""
    words = [sys.executable, "-m", "chaosgpu.agent", "apply"]
    done = subprocess.run(words, input=request.encode(), capture_output=True, timeout=60, check=False)
    sys.stdout.buffer.write(done.stdout.strip() + b"\n")
    sys.stdout.flush()
    sys.stdin.read()  # until it is killed, or nobody is there any more who would do it


if __name__ == "__main__":
    main(sys.argv[1])
