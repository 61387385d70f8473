# SPDX-License-Identifier: Apache-2.0
"""What does not go together on one host, judged without a lock file or a neighbour; one file a subject."""

from chaosgpu.cuda.rules.finding import Finding, Level, findings

__all__ = ["Finding", "Level", "findings"]
