# SPDX-License-Identifier: Apache-2.0
"""`python -m chaosgpu.agent.check_policy FILE`: say whether the agent would take a policy, before it gets it."""

import sys

from chaosgpu.agent.errors import AgentError
from chaosgpu.agent.policy import read_policy


def main(path: str) -> int:
    """Return 0 if the agent would take it, else say why not."""
    try:
        read_policy(path, None)
    except AgentError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
