# SPDX-License-Identifier: Apache-2.0
"""The `chaosgpu` command against the tiny agent in the folder $TINY_AGENT."""

import sys

from chaosgpu.cli.main import main
from support.tiny import configure_control

if __name__ == "__main__":
    configure_control()
    sys.exit(main())
