# SPDX-License-Identifier: Apache-2.0
"""What the agent answers when it does not do what was asked. `kind` goes into `{"error": {"kind", "message"}}`.

AgentError
├── BadRequest       the request, a parameter or its value is wrong; nothing was touched
├── Refused          a precondition is not known to be true; nothing was changed
│   ├── NoEffect     the value is already at the goal, so the fault would do nothing
│   ├── Claimed      another lease holds the resource, or it cannot be read whether one does
│   ├── Forbidden    the host's policy does not permit it
│   ├── Halted       the kill switch is latched on this host
│   └── Unanswered   a program or process that was asked has died, failed or kept silent
├── DriverFailed     the NVIDIA driver answered with an error, or is not there
│   ├── DriverDied   the driver's process ended before it answered: killed, by somebody or for memory
│   ├── DriverHung   a driver call did not come back within its deadline; its process was killed
│   └── DriverStuck  the same, and its process cannot be killed: it hangs in the kernel, where nobody can help it
├── Unverified       injected, and the effect could not be seen
└── StoreFailed      the lease store could not be read or written
    └── Short        there was no free descriptor, process, memory or room: it tells nothing of what was asked for
"""

import errno
from typing import Optional

__all__ = [
    "FAULT_BROKE",
    "PASSING",
    "AgentError",
    "BadRequest",
    "Claimed",
    "DriverDied",
    "DriverFailed",
    "DriverHung",
    "DriverStuck",
    "Forbidden",
    "Halted",
    "NoEffect",
    "Refused",
    "Short",
    "StoreFailed",
    "Unanswered",
    "Unverified",
    "as_agent_error",
]

# What a fault with a mistake in it may raise; it must not keep the other leases from being put back.
FAULT_BROKE = (ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError)

_LACKED = {
    errno.EMFILE: "a free descriptor (`ulimit -n`)",
    errno.ENFILE: "a free descriptor (/proc/sys/fs/file-nr)",
    errno.EAGAIN: "a process (`ulimit -u`, or pids.max of its unit)",
    errno.ENOMEM: "memory",
    errno.ENOSPC: "room on the disk",
    errno.EDQUOT: "room on the disk (its quota)",
}


class AgentError(Exception):
    """The root; `lease` is set where one lease is concerned."""

    kind = "internal"

    def __init__(self, message: str, lease: Optional[str] = None) -> None:
        super().__init__(message)
        self.lease = lease


class BadRequest(AgentError):
    """The request, a parameter or its value is wrong; nothing was touched."""

    kind = "bad_request"


class Refused(AgentError):
    """A precondition is not known to be true; nothing was changed."""

    kind = "refused"


class NoEffect(Refused):
    """The value is already at the goal, so the fault would do nothing."""

    kind = "no_effect"


class Claimed(Refused):
    """Another lease holds the resource, or it cannot be read whether one does."""

    kind = "claimed"


class Forbidden(Refused):
    """The host's policy does not permit it."""

    kind = "forbidden"


class Unanswered(Refused):
    """A program or process that was asked has died, failed or kept silent: another try may well end differently."""


class Halted(Refused):
    """The kill switch is latched on this host."""

    kind = "halted"


class DriverFailed(AgentError):
    """The NVIDIA driver answered with an error, or is not there; `code` is NVML's, if there was one."""

    kind = "driver"

    def __init__(self, message: str, code: Optional[int] = None, lease: Optional[str] = None) -> None:
        super().__init__(message, lease)
        self.code = code


class DriverDied(DriverFailed):
    """The driver's process ended before it answered, or lacked a file or memory itself; that is no answer."""

    kind = "driver_died"


class DriverHung(DriverFailed):
    """A driver call did not come back within its deadline; its process was killed."""

    kind = "driver_hung"


class DriverStuck(DriverFailed):
    """A driver call hangs in the kernel: its process cannot be killed, and no other try can end differently."""

    kind = "driver_hung"


class Unverified(AgentError):
    """Injected, and the effect could not be seen; the agent undid it at once."""

    kind = "unverified"


class StoreFailed(AgentError):
    """The lease store could not be read or written."""

    kind = "store"


class Short(StoreFailed):
    """There was no free descriptor, process, memory or room: it tells nothing of what was asked for."""

    kind = "short"


# What one process alone may lack, or a starved host may be too slow for; another try may well end differently.
PASSING = (OSError, StoreFailed, DriverDied, DriverHung, Unanswered)


def as_agent_error(error: BaseException, what: str) -> AgentError:
    """Return an error of ours as it is; of any other say what `what` lacked, or that it broke by it."""
    if isinstance(error, AgentError):
        return error
    if isinstance(error, OSError) and error.errno in _LACKED:
        return Short(f"{what} lacked {_LACKED[error.errno]}: {error.strerror}. Free some, then ask again.")
    return AgentError(f"{what} broke: {type(error).__name__}: {error}.")
