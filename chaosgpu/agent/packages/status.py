# SPDX-License-Identifier: Apache-2.0
"""dpkg's own record of packages, parsed: its status file, with the journal of a run that was broken off on top."""

from dataclasses import dataclass
from typing import Dict, Iterator, List, Tuple

from chaosgpu.agent.errors import Unanswered
from chaosgpu.agent.packages.tools import Tools

__all__ = ["Package", "broken", "interrupted", "parse_status", "read_packages", "stanzas", "told_native"]

WHOLE = ("installed", "config-files", "not-installed")


@dataclass(frozen=True)
class Package:
    """One package. `name` is as dpkg and apt take it: with its architecture where that is not the host's own."""

    name: str
    version: str
    architecture: str
    want: str  # install, hold, deinstall, purge, unknown
    flag: str  # ok, reinstreq
    status: str  # installed, unpacked, half-configured, half-installed, config-files, not-installed …
    source: str
    essential: bool
    conffiles: Tuple[Tuple[str, str], ...]  # path and dpkg's digest, without obsolete ones

    @property
    def there(self) -> bool:
        """Tell whether anything but its configuration is on the host."""
        return self.status not in ("config-files", "not-installed")

    @property
    def whole(self) -> bool:
        """Tell whether nothing is left to be done to it."""
        return self.status in WHOLE and self.flag == "ok"


def stanzas(text: str) -> Iterator[Dict[str, str]]:
    """Yield the stanzas of a file of Debian's form; the lines of a field stay apart."""
    fields: Dict[str, str] = {}
    key = ""
    for line in text.splitlines():
        if not line.strip():
            if fields:
                yield fields
            fields, key = {}, ""
        elif line[0] in " \t":
            if key:
                fields[key] += "\n" + line[1:]
        elif ":" in line:
            key, _, value = line.partition(":")
            fields[key] = value.strip()
    if fields:
        yield fields


def parse_status(text: str, native: str) -> Dict[str, Package]:
    """Return every package of a status file by its name; the later of two entries counts."""
    found: Dict[str, Package] = {}
    for fields in stanzas(text):
        words = fields.get("Status", "").split()
        if "Package" not in fields or len(words) != 3:  # noqa: PLR2004 (want, flag, status)
            continue
        architecture = fields.get("Architecture", native)
        own = architecture in (native, "all")
        name = fields["Package"] if own else f"{fields['Package']}:{architecture}"
        source = fields.get("Source", fields["Package"]).split(" ")[0]
        found[name] = Package(
            name,
            fields.get("Version", fields.get("Config-Version", "")),
            architecture,
            words[0],
            words[1],
            words[2],
            source,
            fields.get("Essential") == "yes" or fields.get("Important") == "yes",
            _conffiles(fields.get("Conffiles", "")),
        )
    return found


def _conffiles(text: str) -> Tuple[Tuple[str, str], ...]:
    rows = (line.split() for line in text.splitlines())
    return tuple((row[0], row[1]) for row in rows if len(row) == 2)  # noqa: PLR2004 (a third word says: obsolete)


def told_native(tools: Tools) -> str:
    """Return the architecture of the host as dpkg tells it."""
    said = tools.run(tools.dpkg("--print-architecture"), 10.0)
    if not said.well or not said.out.strip():
        raise Unanswered(f"dpkg does not say of which architecture this host is: {said.sentence()}.")
    return said.out.strip()


def read_packages(tools: Tools) -> Dict[str, Package]:
    """Return every package of the host; Unanswered where dpkg's record cannot be read."""
    native = told_native(tools)
    try:
        texts = [(tools.admin / "status").read_text(encoding="utf-8", errors="replace")]
        texts += [(tools.admin / "updates" / name).read_text(encoding="utf-8") for name in interrupted(tools)]
    except OSError as error:
        raise Unanswered(f"dpkg's record in {tools.admin} cannot be read: {error.strerror}.") from error
    return {
        name: one for name, one in parse_status("\n\n".join(texts), native).items() if one.status != "not-installed"
    }


def interrupted(tools: Tools) -> List[str]:
    """Return the journal files of a dpkg that was broken off."""
    folder = tools.admin / "updates"
    return sorted(path.name for path in folder.iterdir() if path.name.isdigit()) if folder.is_dir() else []


def broken(packages: Dict[str, Package]) -> List[str]:
    """Return the packages to which something is left to be done, as words for a sentence."""
    return [f"{one.name} ({one.flag} {one.status})" for one in packages.values() if not one.whole]
