# SPDX-License-Identifier: Apache-2.0
"""One lease a resource, machine-wide, whoever asks: a file a claim in the sticky /var/tmp, made exclusively.

A claim is held unless the record of the lease it names can be read and says that the lease has ended. Whose it is
stands under a digest: one flipped letter must not name a lease that has ended.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from typing import Callable, List, Optional, Sequence, Tuple

from chaosgpu.agent.clock import Clock
from chaosgpu.agent.errors import AgentError, Claimed, Short, StoreFailed, as_agent_error
from chaosgpu.agent.folder import LeaseFolder
from chaosgpu.agent.home import Home
from chaosgpu.agent.lock import Lock
from chaosgpu.agent.record import ENDED

__all__ = ["CLAIMS_DIRECTORY", "Claims", "Owner", "keys"]

CLAIMS_DIRECTORY = "/var/tmp"  # noqa: S108 (the one folder that all users share; opened without following links)
_LOCK_WAIT_S = 5.0
_NEW = ".new"


@dataclass(frozen=True)
class Owner:
    """Whose a claim is: a lease in the state root of some user."""

    home: str
    lease: str

    @property
    def sha256(self) -> str:
        """The digest of both."""
        return hashlib.sha256(json.dumps([self.home, self.lease]).encode()).hexdigest()


class Claims:
    """The claims of this machine."""

    def __init__(self, directory: str, clock: Clock) -> None:
        self._directory, self._clock = directory, clock

    def path(self, claim: str) -> str:
        """Return the file of a claim."""
        return f"{self._directory}/chaosgpu-claim-{hashlib.sha256(claim.encode()).hexdigest()[:32]}.json"

    def take(self, claims: Sequence[str], owner: Owner, mend: Callable[[Owner], None]) -> None:
        """Take all of them or none; `mend` may first end a lease of ours whose time is over. Raises Claimed."""
        taken: List[str] = []
        try:
            for claim in sorted(claims):
                if self._ours_after(self._take_one, claim, owner, mend) is None:
                    taken.append(claim)  # noqa: PERF401 (what was taken counts when the next one raises)
        except AgentError:
            self.release(taken, owner)
            raise

    def refuse_held(self, claims: Sequence[str], owner: Owner, mend: Callable[[Owner], None]) -> None:
        """Raise Claimed if another lease holds one of them; takes nothing."""
        for claim in claims:
            self._ours_after(self._holder, claim, owner, mend)

    def _ours_after(
        self,
        ask: Callable[[str, Owner], Optional[Owner]],
        claim: str,
        owner: Owner,
        mend: Callable[[Owner], None],
    ) -> Optional[Owner]:
        """Ask twice, mending in between; return None or the owner, raise Claimed if it is somebody else's."""
        holder = ask(claim, owner)
        if holder is not None and holder != owner:
            mend(holder)
            holder = ask(claim, owner)
        if holder is not None and holder != owner:
            raise Claimed(f"{claim} is held by lease {holder.lease} of {holder.home}: wait until it ends, or undo it.")
        return holder

    def _holder(self, claim: str, _: Owner) -> Optional[Owner]:
        with self._lock():
            path = self.path(claim)
            owner = self._owner(path) if os.path.lexists(path) else None
            return None if owner is None or self._ended(owner) else owner

    def release(self, claims: Sequence[str], owner: Owner) -> None:
        """Give up those that are ours; a claim that cannot be removed is free all the same, its lease has ended."""
        if not any(os.path.lexists(self.path(claim) + end) for claim in claims for end in ("", _NEW)):
            return
        with self._lock():
            for claim in claims:
                path = self.path(claim)
                _remove(path + _NEW)  # of one who was killed while he made it
                if os.path.lexists(path) and self._owner(path) == owner:
                    _remove(path)

    def any_of(self, claims: Sequence[str], owner: Owner) -> bool:
        """Tell whether one of them is still there as this owner's."""
        return any(os.path.lexists(path) and self._owner(path) == owner for path in map(self.path, claims))

    def _lock(self) -> Lock:
        busy = f"The claims in {self._directory} are locked by another process since {_LOCK_WAIT_S:g} s; ask again."
        return Lock(f"{self._directory}/chaosgpu-claims.lock", self._clock, _LOCK_WAIT_S, busy)

    def _take_one(self, claim: str, owner: Owner) -> Optional[Owner]:
        """Take one claim; return None if it is ours now, else whose it is (ours already, perhaps)."""
        path = self.path(claim)
        with self._lock():
            if os.path.lexists(path):
                holder = self._owner(path)
                if holder == owner or not self._ended(holder):
                    return holder
                if not _remove(path):
                    return holder
            self._write(path, claim, owner)
        return None

    def _write(self, path: str, claim: str, owner: Owner) -> None:
        """Make the file whole and exclusively: one that was cut off half-way would be held for ever."""
        content = json.dumps(
            {"claim": claim, "lease": owner.lease, "home": owner.home, "user": os.getuid(), "sha256": owner.sha256}
        )
        try:
            _remove(path + _NEW)
            descriptor = os.open(path + _NEW, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
            try:
                os.write(descriptor, content.encode())
                os.fsync(descriptor)  # a power loss would leave the name of an empty file: held, and by nobody
            finally:
                os.close(descriptor)
            os.link(path + _NEW, path)
        except OSError as error:
            raise StoreFailed(f"The claim {path} on {claim} cannot be written: {error.strerror}.") from error
        finally:
            _remove(path + _NEW)

    def _owner(self, path: str) -> Owner:
        unreadable = Owner(f"(unreadable: {path})", "unknown")
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with os.fdopen(descriptor, "rb") as file:
                found = json.loads(file.read(65536))
            owner, sha256 = Owner(str(found["home"]), str(found["lease"])), found["sha256"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            told = as_agent_error(error, f"Reading the claim {path}")
            if isinstance(told, Short):
                raise told from error  # it is not known whose it is, and our own must not be taken for another's
            return unreadable
        return owner if sha256 == owner.sha256 else unreadable

    def _ended(self, owner: Owner) -> bool:
        """Unknown means held: a record that is missing, unreadable or damaged has not said that it ended."""
        try:
            state = LeaseFolder(Home(owner.home, limited=False), owner.lease, self._clock).state()
        except AgentError:
            return False
        return state is not None and state.state in ENDED


def _remove(path: str) -> bool:
    try:
        os.unlink(path)  # noqa: PTH108 (pathlib costs 9 ms)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def keys(claims: Tuple[str, ...], simulator: Optional[str]) -> Tuple[str, ...]:
    """Add the simulator's instance to the name of each GPU: two simulators may show the same UUID."""
    if simulator is None:
        return claims
    named = []
    for claim in claims:
        words = claim.split(":")
        if words[0] == "gpu" and len(words) > 1 and simulator not in claim:
            words[1] += f"@{simulator}"
        named.append(":".join(words))
    return tuple(named)
