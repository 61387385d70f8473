# SPDX-License-Identifier: Apache-2.0
"""Tell whether an approval permits one fault on this host, now; the first thing that does not fit is the reason.

A host can tell what was signed, by whom, for which hosts, faults and times. Which experiment it is, and how many hosts
are hit at once, the controller alone can tell: the plan's digest names them.
"""

from dataclasses import dataclass
from typing import Callable, Dict, List, Optional, Tuple

from chaosgpu.agent import values
from chaosgpu.agent.approvals.people import NAME, holders, person, same_person
from chaosgpu.agent.approvals.statement import Statement, read
from chaosgpu.agent.clock import rfc3339
from chaosgpu.agent.errors import BadRequest, Forbidden
from chaosgpu.agent.policy import Approvals
from chaosgpu.agent.values import JsonMapping, JsonObject, JsonValue

__all__ = ["Asked", "judge"]

_MOST_SIGNATURES = 10
_LARGEST = 16 * 1024
_WORDS = frozenset({"statement", "signatures"})

# By whom, over what, with which signature: the key's fingerprint, or None and why.
KeyOf = Callable[[bytes, str, bytes, bytes], Tuple[Optional[str], str]]


@dataclass(frozen=True)
class Asked:
    """What is to be permitted: one fault for so long, on a host of these names, asked for by these, at this moment."""

    fault: str
    max_duration_s: float
    host_names: Tuple[str, ...]
    askers: Tuple[str, ...]
    wall_s: float


def judge(demand: Approvals, asked: Asked, approval: JsonMapping, key_of: KeyOf) -> JsonObject:
    """Return what permits it, for the lease's record; Forbidden with one sentence where nothing does."""
    if not approval:
        raise Forbidden(
            "This host's policy demands an approval, and none came with the fault: run it as a drill whose plan is "
            "approved (chaosgpu drill approve, then chaosgpu drill run)."
        )
    values.only(approval, "approval", _WORDS)
    raw = values.text(approval, "statement").encode()
    said = read(raw)
    why = _why_not(said, asked)
    if why is not None:
        raise Forbidden(f"The approval of {said.drill} does not permit this: {why}. Nothing was touched.")
    good, bad = _Signers(demand.signers, raw, (said.operator, *asked.askers), key_of).counted(approval)
    # Neither two names of one key nor two keys of one name are two people.
    count = min(len({person(by) for by in good}), len(set(good.values())))
    if count < demand.needed:
        more = f" ({'; '.join(bad)})" if bad else ""
        raise Forbidden(
            f"This host demands {demand.needed} approvals by others than the operator, and {said.drill} has {count} "
            f"that count here{more}."
        )
    by: List[JsonValue] = [{"by": name, "key": key} for name, key in good.items()]
    return {"drill": said.drill, "plan_sha256": said.plan_sha256, "approved_by": by}


def _why_not(said: Statement, asked: Asked) -> Optional[str]:
    now = rfc3339(asked.wall_s)
    if not set(asked.host_names) & set(said.hosts):
        return f"it is for {', '.join(said.hosts)}, and this host is {' or '.join(asked.host_names)}"
    if asked.fault not in said.faults:
        return f"it is for {', '.join(said.faults)}, and {asked.fault} was asked for"
    if asked.max_duration_s > said.longest_fault_s:
        return f"it is for {said.longest_fault_s:g} s at most, and {asked.max_duration_s:g} s were asked for"
    if not said.not_before <= now < said.not_after:
        return f"it counts from {said.not_before} to {said.not_after}, and this host's clock says {now}"
    return None


@dataclass(frozen=True)
class _Signers:
    """Who may sign, what was signed, and who must not be among those that signed."""

    known: bytes
    statement: bytes
    operators: Tuple[str, ...]
    key_of: KeyOf

    def counted(self, approval: JsonMapping) -> Tuple[Dict[str, str], List[str]]:
        """Return each name that counts with its key, and of each other one why it does not."""
        given = approval.get("signatures")
        if not isinstance(given, list) or len(given) > _MOST_SIGNATURES:
            raise BadRequest(f"signatures must be a list of at most {_MOST_SIGNATURES}.")
        good: Dict[str, str] = {}
        bad: List[str] = []
        for one in given:
            if not isinstance(one, dict):
                raise BadRequest("a signature must be an object with by and signature.")
            by, signature = values.text(one, "by"), values.text(one, "signature").encode()
            if not NAME.fullmatch(by) or len(signature) > _LARGEST:
                raise BadRequest("a signature must be by a name of the allowed signers, and as ssh-keygen writes it.")
            key, why = self._key(by, signature)
            if key is None:
                bad.append(f"{by} {why}")
            else:
                good[by] = key
        return good, bad

    def _key(self, by: str, signature: bytes) -> Tuple[Optional[str], str]:
        """Return the key of one who is no operator, by no name that the allowed signers give to it."""
        if self._operates(by):
            return None, "is the operator, and nobody approves what is his own"
        key, said = self.key_of(self.known, by, self.statement, signature)
        if key is None:
            return None, f"has no signature that holds here: {said}"
        names = holders(self.known.decode(errors="replace"), key)
        if not names or any(set("*?!") & {*name} for name in names):
            return None, "has a key that is not that of a named person in the allowed signers of this host"
        also = [name for name in names if self._operates(name)]
        return (None, f"has a key that is also that of {also[0]}, the operator") if also else (key, "")

    def _operates(self, name: str) -> bool:
        return any(same_person(name, one) for one in self.operators)
