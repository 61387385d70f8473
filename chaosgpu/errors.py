# SPDX-License-Identifier: Apache-2.0
"""The one tree of errors. Each message is a sentence: what was tried, where, what came back, what to do now.

ActivityFailed (Chaos Toolkit)
└── ChaosGpuError
├── BadArgument          the value of an argument is wrong; nothing was touched
├── Refused              a guard, a claim or the host's policy said no; nothing was changed
│   └── NoGuard          an action in a run without the guard control
├── Unreachable          the agent or the service could not be reached, or broke off
│   └── NotReached       no connection came about: nothing was sent
├── AgentFailed          the agent answered with an error; `kind` is the agent's word for it
│   └── FaultUnverified  the fault was put in and could not be seen; it was undone at once
├── PlaybookFailed       a playbook did not go well on a host; what it did there is to be undone
├── NotRestored          something was not put back: the lease is stuck and says what to do by hand
├── ReadingUnknown       a probe cannot know; unknown is neither healthy nor failed
├── AnswerWrong          a service answered, and the answer is not the right one
├── LedgerBroken         the run's record could not be written or read
├── EvidenceBroken       the site's evidence log or a bundle could not be written or read
└── LabFailed            the lab or the simulator could not be set up
"""

from chaoslib.exceptions import ActivityFailed

__all__ = [
    "AgentFailed",
    "AnswerWrong",
    "BadArgument",
    "ChaosGpuError",
    "EvidenceBroken",
    "FaultUnverified",
    "LabFailed",
    "LedgerBroken",
    "NoGuard",
    "NotReached",
    "NotRestored",
    "PlaybookFailed",
    "ReadingUnknown",
    "Refused",
    "Unreachable",
]


class ChaosGpuError(ActivityFailed):
    """The root: whatever this package raises on purpose."""


class BadArgument(ChaosGpuError):
    """The value of an argument is wrong; nothing was touched."""


class Refused(ChaosGpuError):
    """A guard, a claim or the host's policy said no; nothing was changed."""


class NoGuard(Refused):
    """An action was called in a run without the guard control."""


class Unreachable(ChaosGpuError):
    """The agent or the service could not be reached, or broke off before it had answered."""


class NotReached(Unreachable):
    """No connection to the host came about: nothing was sent there."""


class AgentFailed(ChaosGpuError):
    """The agent answered with an error; `kind` is the agent's word for it."""

    def __init__(self, message: str, kind: str = "internal") -> None:
        super().__init__(message)
        self.kind = kind


class FaultUnverified(AgentFailed):
    """The fault was put in and its effect could not be seen; the agent undid it at once."""


class PlaybookFailed(ChaosGpuError):
    """A playbook did not go well on a host; what it has done there is to be undone."""


class NotRestored(ChaosGpuError):
    """Something was not put back: the lease is stuck and says what to do by hand."""


class ReadingUnknown(ChaosGpuError):
    """A probe cannot know; unknown is neither healthy nor failed."""


class AnswerWrong(ChaosGpuError):
    """A service answered, and the answer is not the right one."""


class LedgerBroken(ChaosGpuError):
    """The run's record could not be written or read."""


class EvidenceBroken(ChaosGpuError):
    """The site's evidence log or a bundle could not be written or read."""


class LabFailed(ChaosGpuError):
    """The lab or the simulator could not be set up."""
