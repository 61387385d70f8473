# SPDX-License-Identifier: Apache-2.0
"""The host has the last word: its policy says which faults it takes, how long, and what nobody may touch.

Without a policy, or with one that anybody but root could have written, the agent reads and never injects.
"""

import json
import os
import stat
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Optional, Tuple

from chaosgpu.agent import values
from chaosgpu.agent.errors import BadRequest, Forbidden
from chaosgpu.agent.values import JsonMapping

__all__ = ["SYSTEM_POLICY", "Approvals", "Policy", "at_once", "read_policy"]

SYSTEM_POLICY = "/etc/chaosgpu/policy.json"
_KEYS = frozenset({"version", "permit", "max_duration_s", "protected", "approvals", "python"})
_APPROVALS = frozenset({"required", "allowed_signers", "needed", "names"})
_LONGEST_S = 7 * 86400.0
_MOST_NEEDED = 10


@dataclass(frozen=True)
class Approvals:
    """What this host demands of a drill's approval."""

    # The allowed signers (ssh-keygen(1)) as they were read, whatever the file is by now.
    signers: bytes
    needed: int = 1
    # How plans call this host; empty: by its own name.
    names: Tuple[str, ...] = ()


@dataclass(frozen=True)
class Policy:
    """What this host permits; `python` is the interpreter that transports start the agent with."""

    permit: Tuple[str, ...]
    max_duration_s: float
    protected_units: Tuple[str, ...] = ()
    protected_gpus: Tuple[str, ...] = ()
    approvals: Optional[Approvals] = None
    python: Optional[str] = None

    def allow(self, fault: str, max_duration_s: float) -> None:
        """Refuse a fault that is not permitted or that may last too long."""
        if not any(fnmatchcase(fault, pattern) for pattern in self.permit):
            raise Forbidden(f"This host's policy does not permit {fault}; it permits: {', '.join(self.permit) or '-'}.")
        if max_duration_s > self.max_duration_s:
            raise Forbidden(
                f"This host's policy permits {self.max_duration_s:g} s at most, and {max_duration_s:g} s were asked "
                "for (the duration with its margin): ask for less."
            )

    def allow_claims(self, claims: Tuple[str, ...]) -> None:
        """Refuse what touches a protected GPU or unit; a claim is kind:name or kind:name:part."""
        for claim in claims:
            kind, name = (*claim.split(":"), "")[:2]
            if kind == "gpu" and name.split("@")[0] in self.protected_gpus:  # after the @: the simulator's instance
                raise Forbidden(f"This host's policy protects the gpu {name}; nothing was touched.")
            if kind == "unit" and any(known in self.protected_units for known in _names_of_unit(name)):
                raise Forbidden(f"This host's policy protects the unit {name}; nothing was touched.")


def _names_of_unit(name: str) -> Tuple[str, ...]:
    """Return what a policy may call it: its name, that of its template, and both without `.service`."""
    template, at, _ = name.partition("@")
    full = (name, f"{template}@.{name.rpartition('.')[2]}") if at else (name,)
    return (*full, *(one[: -len(".service")] for one in full if one.endswith(".service")))


def at_once(path: str, flags: int) -> int:
    """Open without waiting: a pipe in a file's place must not hold up who reads it."""
    return os.open(path, flags | os.O_NONBLOCK)


def read_policy(path: str, owner: Optional[int]) -> Policy:
    """Read the policy; Forbidden where it is missing, wrong, or (with `owner`) writable for anybody else."""
    try:
        raw = json.loads(_owned(path, owner))
    except FileNotFoundError as error:
        raise Forbidden(
            f"This host has no policy at {path}, so the agent only reads. Its owner writes one to permit faults."
        ) from error
    except (OSError, ValueError) as error:
        raise Forbidden(f"The policy {path} cannot be read, so the agent only reads: {error}.") from error
    try:
        return _parse(raw, owner)
    except BadRequest as error:
        raise Forbidden(f"The policy {path} is wrong, so the agent only reads: {error}") from error


def _owned(path: str, owner: Optional[int]) -> bytes:
    """Read a file that, with its folder, nobody but its owner may write."""
    with open(path, "rb", opener=at_once) as file:
        if owner is not None:
            _check_owner(path, os.fstat(file.fileno()), owner)
            folder = os.path.dirname(path)  # noqa: PTH120 (pathlib costs 9 ms at start)
            _check_owner(folder, os.stat(folder), owner)  # noqa: PTH116 (as above)
        return file.read()


def _check_owner(path: str, found: os.stat_result, owner: int) -> None:
    if found.st_uid != owner or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise Forbidden(
            f"{path} must belong to user {owner} and be writable for nobody else, or anyone could permit faults. "
            f"It belongs to user {found.st_uid} and has mode {stat.S_IMODE(found.st_mode):o}: mend it."
        )


def _parse(raw: object, owner: Optional[int]) -> Policy:
    if not isinstance(raw, dict):
        raise BadRequest("it must be a JSON object.")
    values.only(raw, "the policy", _KEYS)
    values.whole(raw, "version", 1, 1)
    protected, approvals = values.mapping(raw, "protected"), values.mapping(raw, "approvals")
    values.only(protected, "protected", frozenset({"units", "gpus"}))
    gpus = _texts(protected, "gpus", missing=())
    for gpu in gpus:
        if not gpu.startswith(("GPU-", "MIG-")):
            raise BadRequest(f"a protected GPU is named by its UUID (nvidia-smi -L shows it), not {gpu!r}.")
    return Policy(
        permit=_texts(raw, "permit", missing=None),
        max_duration_s=values.number(raw, "max_duration_s", 0.0, _LONGEST_S),
        protected_units=_texts(protected, "units", missing=()),
        protected_gpus=gpus,
        approvals=_approvals(approvals, owner),
        python=values.optional_text(raw, "python"),
    )


def _approvals(raw: JsonMapping, owner: Optional[int]) -> Optional[Approvals]:
    values.only(raw, "approvals", _APPROVALS)
    path, names = values.optional_text(raw, "allowed_signers"), _texts(raw, "names", missing=())
    needed = values.whole(raw, "needed", 1, _MOST_NEEDED) if "needed" in raw else 1
    if path is not None and not os.path.isabs(path):  # noqa: PTH117 (pathlib costs 9 ms at start)
        raise BadRequest(f"allowed_signers must be an absolute path, not {path!r}.")
    if not values.flag(raw, "required", default=False):
        return None
    if path is None:
        raise BadRequest("an approval is required, and allowed_signers does not say whose signatures count.")
    try:
        return Approvals(_owned(path, owner), needed, names)
    except OSError as error:
        raise BadRequest(f"the allowed signers {path} cannot be read ({error.strerror}), so none counts.") from error


def _texts(source: JsonMapping, key: str, missing: Optional[Tuple[str, ...]]) -> Tuple[str, ...]:
    found = source.get(key, missing)
    if not isinstance(found, (list, tuple)) or not all(isinstance(item, str) and item for item in found):
        raise BadRequest(f"{key} must be a list of texts.")
    return tuple(str(item) for item in found)
