# SPDX-License-Identifier: Apache-2.0
"""`agent packages VERB`: what a playbook may ask of the host's packages through the agent's one line in sudoers.

Nothing here takes a path: whoever may call it must not be able to have root write, remove or install what he likes.
plan {"packages", "may_remove"?}   gaps {"packages"}
"""

from typing import List

from chaosgpu.agent.packages import __main__ as engine

__all__ = ["VERBS", "main"]

VERBS = {name: engine.VERBS[name] for name in ("plan", "gaps")}


def main(words: List[str]) -> int:
    """Carry out one verb; 0 if standard output holds the answer."""
    return engine.main(words, VERBS)
