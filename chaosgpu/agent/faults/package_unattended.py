# SPDX-License-Identifier: Apache-2.0
"""package.unattended: an upgrade that nobody watches comes over named packages; pins and holds stop it, or do not.

What is heavy is imported where it is used, as in package.install, whose engine does the work.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional, Tuple

from chaosgpu.agent import values
from chaosgpu.agent.errors import BadRequest, NoEffect, Refused, Unverified
from chaosgpu.agent.faults.contract import Context, Fault, Held, Restored

# Public names there would be another module, and all that was proved of package.install would have to be proved anew.
from chaosgpu.agent.faults.package_install import BACK_WITHIN_S, PackageInstall, PackageParams, _names, _plan, _tools
from chaosgpu.agent.values import JsonMapping, JsonObject

if TYPE_CHECKING:
    from chaosgpu.agent.faults.package_upgrade import Upgrade
    from chaosgpu.agent.packages.tools import Tools

_SHORTEST_S, _LONGEST_S = 10.0, 7200.0
_INSTALL = PackageInstall()


@dataclass(frozen=True)
class UnattendedParams:
    """Which packages, whether one of them has to move, and how long each way may take."""

    packages: Tuple[str, ...]
    must_change: bool
    back_within_s: float

    def to(self, versions: JsonMapping) -> PackageParams:
        """Return what package.install would be told."""
        return PackageParams({name: str(version) for name, version in versions.items()}, (), self.back_within_s)


class PackageUnattended(Fault[UnattendedParams]):
    """The nightly upgrade that takes the driver along, or tries to."""

    name = "package.unattended"
    summary = "Upgrades named packages as an unattended upgrade would, under the host's pins and holds; all go back."
    plane = "state"
    tier = "T2"
    fidelity = "exact"
    privilege = "root"
    deadline_class = "slow"
    claimed = "dpkg's database of the host, and each package that is named"
    refuses = (
        "packages that are not installed, or of which apt knows nothing newer; packages that all are held or pinned, "
        "unless `must_change` is false; and what package.install refuses"
    )
    traps = (
        "It is not the program unattended-upgrade: its own lists of origins and packages are not read, and the host's "
        "lists of packages are not refreshed. With `must_change` false the guards are what is tried: where they stop "
        "all of it nothing changes on the host, `kept_back` names each package with what keeps it and the version that "
        "apt would take otherwise, and that is looked at again. Whatever is true of package.install: the module that "
        "runs stays, services that run keep their libraries, and new processes get the new ones."
    )

    def parse(self, raw: JsonMapping) -> UnattendedParams:
        """Read the values alone."""
        values.only(raw, self.name, frozenset({"packages", "must_change", "back_within_s"}))
        names = _names(raw.get("packages", []))
        if not names:
            raise BadRequest('packages must be a list of names, such as ["nvidia-open", "nvidia-fabricmanager"].')
        within_s = values.number({"back_within_s": BACK_WITHIN_S, **raw}, "back_within_s", _SHORTEST_S, _LONGEST_S)
        must_change = values.flag(raw, "must_change", default=True)
        return UnattendedParams(tuple(sorted(set(names))), must_change, within_s)

    def check(self, params: UnattendedParams, context: Context) -> None:
        """Ask apt what an upgrade would do, and refuse what would do nothing or could not be put back."""
        found = _upgrade(params, context)
        if found.moves:
            self._refuse_others(params, found, context)
            _INSTALL.check(params.to({**found.moves}), context)
        elif not found.kept:
            raise NoEffect(f"apt knows nothing newer of {', '.join(params.packages)}: an upgrade would do nothing.")
        elif params.must_change:
            raise NoEffect(
                f"The guards of this host stop an upgrade of {_sentence(found)}: nothing would change. To try the "
                "guards themselves, set must_change to false."
            )

    def claims(self, params: UnattendedParams, context: Context) -> Tuple[str, ...]:  # noqa: ARG002 (contract)
        """Name dpkg's database, which one change at a time may hold, and each package."""
        return ("dpkg:database", *(f"package:{name}" for name in params.packages))

    def capture(self, params: UnattendedParams, context: Context) -> JsonObject:
        """Keep everything for both ways where something moves; else the versions as they are."""
        found = _upgrade(params, context)
        kept: JsonObject = {"kept_back": [one.to_json() for one in found.kept]}
        if found.moves:
            return {**_INSTALL.capture(params.to({**found.moves}), context), **kept}
        return {"stay": _versions(params, context), **kept}

    def inject(self, params: UnattendedParams, prior: JsonMapping, context: Context) -> None:
        """Install what the upgrade would; where the guards stop all of it there is nothing to install."""
        if "folder" in prior:
            _INSTALL.inject(params.to({}), prior, context)

    def verify(
        self, params: UnattendedParams, prior: JsonMapping, held: Optional[Held], context: Context
    ) -> JsonObject:
        """Read what has moved back from dpkg, twice; and that what stays is still kept by the guards alone."""
        kept = prior.get("kept_back", [])
        if "folder" in prior:
            return {**_INSTALL.verify(params.to({}), prior, held, context), "kept_back": kept}
        found = _upgrade(params, context)
        if found.moves or [one.to_json() for one in found.kept] != kept:
            raise Unverified(
                f"The guards no longer stop the upgrade as they did: it would move "
                f"{', '.join(found.moves) or 'nothing'}, and keep back {_sentence(found) or 'nothing'}."
            )
        return {"new": [], "upgrade": [], "downgrade": [], "remove": [], "kept_back": kept}

    def undo(self, params: UnattendedParams, prior: JsonMapping, context: Context) -> None:
        """Go back with what was kept."""
        if "folder" in prior:
            _INSTALL.undo(params.to({}), prior, context)

    def restored(
        self, params: UnattendedParams, prior: JsonMapping, held: Optional[Held], context: Context
    ) -> Restored:
        """Compare everything with what was kept; where nothing was changed, name what somebody else has."""
        if "folder" in prior:
            return _INSTALL.restored(params.to({}), prior, held, context)
        stood, now = values.mapping(prior, "stay"), _versions(params, context)
        theirs = tuple(
            f"{name} is {now[name]}, and was {version}: somebody changed it meanwhile, and it was left alone"
            for name, version in stood.items()
            if now[name] != version
        )
        return Restored(clean=True, values={"packages": now}, left_alone=theirs)

    @staticmethod
    def _refuse_others(params: UnattendedParams, found: "Upgrade", context: Context) -> None:
        """Refuse where our way there would move what an upgrade would not, such as a package on hold."""
        changes = _plan(params.to({**found.moves}), _apt(context)).changes
        others = [change.name for change in changes if found.every.get(change.name) != change.after]
        if others:
            raise Refused(
                f"To upgrade {', '.join(found.moves)} alone, {', '.join(others)} would have to move, which an upgrade "
                "of this host would leave as it is: name all that moves together; nothing was changed."
            )


def _apt(context: Context) -> "Tools":
    tools = _tools(context)
    if tools.rpm:
        raise Refused("This host has no apt, and what an upgrade by dnf would do is not told; nothing was touched.")
    return tools


def _upgrade(params: UnattendedParams, context: Context) -> "Upgrade":
    from chaosgpu.agent.faults import package_upgrade  # noqa: PLC0415 (see the module's docstring)
    from chaosgpu.agent.packages import facts  # noqa: PLC0415 (see the module's docstring)

    tools = _apt(context)
    return package_upgrade.upgrade(tools, facts.look(tools), params.packages)


def _versions(params: UnattendedParams, context: Context) -> JsonObject:
    from chaosgpu.agent.packages import facts  # noqa: PLC0415 (as above)

    found = facts.look(_apt(context))
    there = {name: found.there(name) for name in params.packages}
    return {name: "not installed" if one is None else one.version for name, one in there.items()}


def _sentence(found: "Upgrade") -> str:
    return ", ".join(f"{one.name} {one.installed} to {one.newest} ({' and '.join(one.why)})" for one in found.kept)
