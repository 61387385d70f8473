# SPDX-License-Identifier: Apache-2.0
"""package.install: other versions of packages, such as a driver upgraded under running services; put back exactly.

What is heavy is imported where it is used: most hosts never change a package.
"""

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Dict, Optional, Tuple

from chaosgpu.agent import values
from chaosgpu.agent.errors import BadRequest, Forbidden, NoEffect, Refused, Unverified
from chaosgpu.agent.faults.contract import Context, Fault, Held, Restored
from chaosgpu.agent.values import JsonMapping, JsonObject

if TYPE_CHECKING:
    from chaosgpu.agent.packages.facts import Facts
    from chaosgpu.agent.packages.plan import Plan
    from chaosgpu.agent.packages.snapshot import Snapshot
    from chaosgpu.agent.packages.tools import Tools

BACK_WITHIN_S = 900.0
_SHORTEST_S, _LONGEST_S = 10.0, 7200.0
_INTERVAL_S = 0.3
_LOCK_S = 5.0
PROGRAMS = ("/usr/bin/dpkg", "/usr/bin/apt-get")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]+(:[a-z0-9]+)?")
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+:~^_-]*")
_HOME = "/var/lib/chaosgpu"


@dataclass(frozen=True)
class PackageParams:
    """Which packages in which versions, what may go for it, and how long each way may take."""

    packages: Dict[str, str]
    may_remove: Tuple[str, ...]
    back_within_s: float
    guard: bool = False


class PackageInstall(Fault[PackageParams]):
    """Packages that somebody has upgraded, or downgraded, under a running service."""

    name = "package.install"
    summary = "Brings packages to other versions, by apt or by dnf; the undo brings every one back, without a network."
    plane = "state"
    tier = "T2"
    fidelity = "exact"
    privilege = "root"
    deadline_class = "slow"
    claimed = "dpkg's database of the host, and each package that is named"
    refuses = (
        "versions that apt finds no way to; a removal that may_remove does not name; packages that the host or the way "
        "back stands on (libc6, dpkg, apt, python3, systemd, openssh-server and their like); work that dpkg has left "
        "half-done; a file that is not as its package has it; a package file of either side that cannot be had; a "
        "state root in memory; a locked dpkg; with `guard`, guards of somebody else"
    )
    traps = (
        "apt takes along what is of the same source. The kernel module that runs stays the one that is loaded: after a "
        "reboot while the fault is in force another one runs, and the undo says `reboot needed` and is stuck until "
        "then. A package that somebody brought to a third version is left alone and named. A lock of dpkg, and a "
        "script of a package that goes on by itself, is waited for and never ended. Deadline and halt wait until a "
        "change that is under way has ended. Scripts of packages restart services, both ways; at boot one may wait for "
        "up to two minutes for the boot unit. On the way there DKMS compiles, some minutes; on the way back its "
        "modules are put back as they were kept."
    )

    def parse(self, raw: JsonMapping) -> PackageParams:
        """Read the values alone."""
        values.only(raw, self.name, frozenset({"packages", "may_remove", "back_within_s", "guard"}))
        named = values.mapping(raw, "packages")
        if not named:
            raise BadRequest('packages must name a version for each package, such as {"nvidia-open": "580.95.05-1"}.')
        packages = {name: values.text(named, name) for name in named}
        for name, version in packages.items():
            if not _NAME.fullmatch(name) or not _VERSION.fullmatch(version):
                raise BadRequest(f"packages has {name!r}: {version!r}, which is no package in one whole version.")
        within_s = BACK_WITHIN_S
        if "back_within_s" in raw:
            within_s = values.number(raw, "back_within_s", _SHORTEST_S, _LONGEST_S)
        guarded = values.flag(raw, "guard", default=False)
        return PackageParams(packages, _names(raw.get("may_remove", [])), within_s, guarded)

    def check(self, params: PackageParams, context: Context) -> None:
        """Ask apt what it would do, and refuse what could not be put back."""
        from chaosgpu.agent.packages import guard, stage  # noqa: PLC0415 (see the module's docstring)

        tools = _tools(context)
        stage.refuse_memory(_root(context))
        if not _plan(params, tools).changes and not (params.guard and guard.gaps(tools, params.packages)):
            named = ", ".join(f"{name} {version}" for name, version in sorted(params.packages.items()))
            raise NoEffect(f"{named} is {'so' if params.guard else 'installed'} already: nothing would change.")
        if params.guard and tools.path(guard.PLACE).exists():
            raise Refused(
                f"{guard.PLACE} is on this host already, so somebody guards packages: undo the lease that it is of, or "
                "take it away with `unguard` (docs/packages.md); nothing was changed."
            )

    def claims(self, params: PackageParams, context: Context) -> Tuple[str, ...]:  # noqa: ARG002 (contract)
        """Name dpkg's database, which one change at a time may hold, and each package."""
        return ("dpkg:database", *(f"package:{name}" for name in sorted(params.packages)))

    def capture(self, params: PackageParams, context: Context) -> JsonObject:
        """Keep everything for both ways in the state root: package files, marks, files of /etc, fingerprint."""
        from pathlib import Path  # noqa: PLC0415 (see the module's docstring)

        from chaosgpu.agent.fetched import FOLDER, fetching  # noqa: PLC0415 (as above)
        from chaosgpu.agent.packages import facts, fingerprint, plan, snapshot  # noqa: PLC0415 (as above)

        tools = _tools(context)
        found = _plan(params, tools)
        seen = facts.look(tools)
        pins = _pins(params, tools, seen, found) if params.guard else {}
        if params.guard:
            found = plan.with_same(found, seen, params.packages)
        folder = Path(_root(context)) / FOLDER / Path(context.lease_dir or "none").name
        with fetching(_root(context)):
            snapshot.forget_others(folder)
            taken = snapshot.take(tools, folder, found, seen, {name: _sum(text) for name, text in pins.items()})
        return {
            "pins": {**pins},
            "folder": str(folder),
            "plan": found.to_json(),
            "fingerprint": fingerprint.digest_of(taken.fingerprint),
            "module": taken.module,
            "back_within_s": params.back_within_s,
        }

    def inject(self, params: PackageParams, prior: JsonMapping, context: Context) -> None:
        """Install the kept package files of the other side; a guard stands before, and holds what it brought."""
        from chaosgpu.agent.packages import guard  # noqa: PLC0415 (as above)
        from chaosgpu.agent.packages.change import put_in  # noqa: PLC0415 (as above)

        tools = _tools(context)
        found = _snapshot(prior, tools)
        for text in values.mapping(prior, "pins").values():
            guard.pin(tools, str(text))
        put_in(tools, found, params.back_within_s)
        if params.guard:
            guard.hold(tools, found.names)

    def verify(self, params: PackageParams, prior: JsonMapping, held: Optional[Held], context: Context) -> JsonObject:  # noqa: ARG002 (contract)
        """Read every package back from dpkg's own record, twice."""
        from chaosgpu.agent.packages import guard  # noqa: PLC0415 (as above)
        from chaosgpu.agent.packages.change import not_there  # noqa: PLC0415 (as above)
        from chaosgpu.agent.packages.module import loaded  # noqa: PLC0415 (as above)

        tools = _tools(context)
        snapshot = _snapshot(prior, tools)
        for pause_s in (0.0, _INTERVAL_S):
            context.clock.sleep(pause_s)
            missing = not_there(tools, snapshot)
            if missing:
                raise Unverified(f"The packages are not as the fault would have them: {'; '.join(missing[:5])}.")
            open_to = guard.gaps(tools, params.packages) if params.guard else []
            if open_to:
                raise Unverified(f"The packages are not guarded: {'; '.join(open_to[:5])}.")
        return {
            **values.mapping(prior, "plan"),
            "module": loaded(tools),
            "back_within_s": params.back_within_s,
        }

    def undo(self, params: PackageParams, prior: JsonMapping, context: Context) -> None:
        """Go back with what was kept: no network, no mirror, no controller."""
        from chaosgpu.agent.packages.restore import restore  # noqa: PLC0415 (as above)

        tools = _tools(context)
        restore(tools, _snapshot(prior, tools), params.back_within_s)

    def restored(self, params: PackageParams, prior: JsonMapping, held: Optional[Held], context: Context) -> Restored:  # noqa: ARG002 (contract)
        """Compare everything with what was kept; the package files go once nobody needs them."""
        from chaosgpu.agent.packages.judge import judge  # noqa: PLC0415 (as above)
        from chaosgpu.agent.packages.snapshot import shed  # noqa: PLC0415 (as above)

        tools = _tools(context)
        snapshot = _snapshot(prior, tools)
        found = judge(tools, snapshot)
        if found.as_before:
            shed(snapshot)
        return Restored(found.as_before, found.values, found.left_alone, found.by_hand)


def _names(raw: object) -> Tuple[str, ...]:
    if not isinstance(raw, list) or not all(isinstance(name, str) and _NAME.fullmatch(name) for name in raw):
        raise BadRequest(f"may_remove must be a list of names of packages, not {raw!r}.")
    return tuple(raw)


def _tools(context: Context) -> "Tools":
    from chaosgpu.agent.packages.tools import of_host  # noqa: PLC0415 (as above)

    if context.limited_to_home is not None:
        raise Forbidden(
            f"Under CHAOSGPU_AGENT_HOME={context.limited_to_home} no package of this host is touched. Unset the "
            "variable to work under the host's own policy."
        )
    tools = of_host()
    missing = [path for path in PROGRAMS if not os.access(path, os.X_OK)]
    if missing and not tools.rpm:
        raise Refused(
            f"{' and '.join(missing)} is not on this host, nor are dnf and rpm: its packages cannot be changed."
        )
    if os.geteuid() != 0:
        raise Refused(
            f"Only root may change packages, and this agent runs as user {os.geteuid()}; nothing was touched."
        )
    return tools


def _plan(params: PackageParams, tools: "Tools") -> "Plan":
    from chaosgpu.agent.packages import facts, locks, plan  # noqa: PLC0415 (as above)

    locks.wait_free(tools, _LOCK_S)
    seen = facts.look(tools)
    plan.refuse_unfinished(seen)
    found = plan.plan(tools, seen, params.packages)
    plan.refuse_harm(found, seen, params.may_remove)
    return found


def _pins(params: PackageParams, tools: "Tools", seen: "Facts", found: "Plan") -> Dict[str, str]:
    """Return the file that guards these packages, by its name."""
    from chaosgpu.agent.packages import guard, plan  # noqa: PLC0415 (as above)
    from chaosgpu.agent.packages.rpm import locking  # noqa: PLC0415 (as above)

    if tools.rpm:
        versions = {one.name: one.after for one in found.changes if one.after is not None}
        return {locking.PLACE: locking.text_with(tools, {**versions, **params.packages})}

    made_from = {name: one.source for name, one in seen.packages.items() if name in params.packages}
    return {guard.PLACE: guard.preferences(params.packages, {**plan.sources(tools, params.packages), **made_from})}


def _sum(text: str) -> str:
    import hashlib  # noqa: PLC0415 (as above)

    # As dpkg's own lists have it; a host that is limited to FIPS algorithms refuses it for anything that guards.
    return f"md5 {hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()}"


def _snapshot(prior: JsonMapping, tools: "Tools") -> "Snapshot":
    from pathlib import Path  # noqa: PLC0415 (as above)

    from chaosgpu.agent.packages import fingerprint, snapshot  # noqa: PLC0415 (as above)
    from chaosgpu.agent.store import Damaged  # noqa: PLC0415 (as above)

    found = snapshot.load(tools, Path(values.text(prior, "folder")))
    if fingerprint.digest_of(found.fingerprint) != values.text(prior, "fingerprint"):
        raise Damaged(f"The snapshot in {found.folder} is not the one that this lease has taken.")
    return found


def _root(context: Context) -> str:
    if context.lease_dir is None:
        return _HOME
    return os.path.dirname(os.path.dirname(context.lease_dir))  # noqa: PTH120 (as above)
