# SPDX-License-Identifier: Apache-2.0
"""What a person is told to do about a lease that is stuck."""

from typing import Optional

from chaosgpu.agent.errors import Claimed, as_agent_error
from chaosgpu.agent.process import Identity

__all__ = ["NOT_AS_CAPTURED", "about_damage", "about_failure", "about_holder"]

NOT_AS_CAPTURED = "What was read back is not what was captured; put it back by hand."


def about_damage(error: BaseException, folder: str, lease: str) -> str:
    """Return the sentences for a record that cannot be trusted."""
    return (
        f"{error} It was not executed. By hand: see what the record still says in {folder} and in the "
        "system log, put that setting back and compare with `nvidia-smi -q`, then remove the folder and the "
        f"claims that name it (grep -l {lease} /var/tmp/chaosgpu-claim-*.json)."
    )


def about_failure(error: BaseException) -> str:
    """Return the sentences for an undo that failed."""
    what = str(as_agent_error(error, "the undo"))
    if isinstance(error, Claimed):
        what = f"Its own claim is held by another lease meanwhile, so nothing was put back. {what}"
    return f"{what} When the cause is gone, undo again; else put back by hand what `record` shows as prior."


def about_holder(who: Optional[Identity]) -> str:
    """Return the sentence for a holder that is still there after everything is back."""
    which = who or "that carries this lease's tag"
    return f"The holder process {which} does not end; see `ps` for its state, it may be in the driver."
