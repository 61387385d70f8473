# SPDX-License-Identifier: Apache-2.0
"""Which packages apt counts as installed for others only: its file, parsed. The order of its entries says nothing."""

from typing import FrozenSet, Iterable

from chaosgpu.agent.errors import Unanswered
from chaosgpu.agent.packages.status import stanzas, told_native
from chaosgpu.agent.packages.tools import Done, Tools

__all__ = ["parse_auto", "read_auto", "set_auto", "set_wanted"]

_WITHIN_S = 60.0


def parse_auto(text: str, native: str) -> FrozenSet[str]:
    """Return the names that carry the automatic mark."""
    found = set()
    for fields in stanzas(text):
        if fields.get("Auto-Installed") == "1" and "Package" in fields:
            architecture = fields.get("Architecture", native)
            own = architecture in (native, "all")
            found.add(fields["Package"] if own else f"{fields['Package']}:{architecture}")
    return frozenset(found)


def read_auto(tools: Tools) -> FrozenSet[str]:
    """Return them on this host; no file means that apt has marked nothing."""
    native = told_native(tools)
    path = tools.path("/var/lib/apt/extended_states")
    return parse_auto(path.read_text(encoding="utf-8"), native) if path.exists() else frozenset()


def set_auto(tools: Tools, names: Iterable[str], *, auto: bool) -> None:
    """Give or take the mark; whether it is so is read back by whoever asks. Unanswered where apt cannot now."""
    listed = sorted(names)
    if listed and not tools.rpm:  # dnf's own record of that is not touched by rpm
        _sure(tools.run(tools.apt("apt-mark", "auto" if auto else "manual", *listed), _WITHIN_S))


def set_wanted(tools: Tools, wants: Iterable["tuple[str, str]"]) -> Done:
    """Set what dpkg wants of packages: `hold`, `install`; likewise read back by whoever asks; not with rpm."""
    if tools.rpm:
        return Done((), 0, "", "")
    lines = "".join(f"{name}\t{want}\n" for name, want in wants)
    return _sure(tools.run(tools.dpkg("--set-selections"), _WITHIN_S, stdin=lines))


def _sure(done: Done) -> Done:
    """Raise Unanswered where a mark could not be set: a disk that is full may have room at the next try."""
    if not done.well:
        raise Unanswered(f"A mark of a package could not be set: {done.sentence()}.")
    return done
