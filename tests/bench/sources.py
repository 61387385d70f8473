# SPDX-License-Identifier: Apache-2.0
"""Which Debian mirror this machine uses: read from its own apt sources, since none is written down here."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.plan import BenchFailed

__all__ = ["Source", "debian_mirror", "sources_in"]

APT = Path("/etc/apt")
_SUITES = frozenset({"bullseye", "bookworm", "trixie", "forky", "oldstable", "stable", "testing", "sid", "unstable"})
_SCHEMES = ("http://", "https://", "file:/")  # what debootstrap can read


@dataclass(frozen=True)
class Source:
    """One archive of one file."""

    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str

    def is_debian(self) -> bool:
        """Tell Debian's own archive from other vendors', who use the same suite names."""
        ours = self.signed_by == "" or "debian-archive" in self.signed_by
        return ours and self.uri.startswith(_SCHEMES) and "main" in self.components and bool(_SUITES & {*self.suites})


def debian_mirror(apt: Path = APT) -> str:
    """Return the address of the Debian mirror that apt uses on this machine."""
    found = [source for source in sources_in(apt) if source.is_debian()]
    if not found:
        raise BenchFailed(
            f"No Debian mirror was found in {apt}/sources.list and {apt}/sources.list.d. The test hosts run Debian: "
            "name a mirror there, for example in debian.sources."
        )
    # Vendors who sign with nothing that apt is told of still end differently.
    return next((source.uri for source in found if source.uri.rstrip("/").endswith("/debian")), found[0].uri)


def sources_in(apt: Path) -> Iterator[Source]:
    """Read every source in force, in apt's order."""
    folder = apt / "sources.list.d"
    files = [apt / "sources.list", *(sorted(folder.iterdir()) if folder.is_dir() else ())]
    for path in files:
        if path.suffix == ".list" and path.is_file():
            yield from _one_line(path.read_text())
        elif path.suffix == ".sources" and path.is_file():
            yield from _stanzas(path.read_text())


def _one_line(text: str) -> Iterator[Source]:
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[([^\]]*)\]\s*)?(\S+)\s+(\S+)\s+([^#]+)", line)
        if match:
            options = dict(word.split("=", 1) for word in (match[1] or "").split() if "=" in word)
            yield Source(match[2], (match[3],), tuple(match[4].split()), options.get("signed-by", ""))


def _stanzas(text: str) -> Iterator[Source]:
    for stanza in re.split(r"\n\s*\n", re.sub(r"(?m)^#.*\n?", "", text)):
        fields: dict[str, str] = {}
        key = ""
        for line in stanza.splitlines():
            if line[:1].isspace():
                fields[key] = f"{fields.get(key, '')} {line.strip()}"
            elif ":" in line:
                key, _, value = line.partition(":")
                key = key.strip().lower()
                fields[key] = value.strip()
        if fields.get("enabled", "yes").lower() in ("no", "false", "0") or "deb" not in fields.get("types", "").split():
            continue
        suites, components = fields.get("suites", "").split(), fields.get("components", "").split()
        for uri in fields.get("uris", "").split():
            yield Source(uri, tuple(suites), tuple(components), fields.get("signed-by", ""))
