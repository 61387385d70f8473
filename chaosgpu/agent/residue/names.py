# SPDX-License-Identifier: Apache-2.0
"""Names that lead nowhere: /etc/hosts, the resolver, and a host that lets nobody log in."""

from chaosgpu.agent.residue.finding import FOREIGN, UNKNOWN, Found, family
from chaosgpu.agent.residue.scene import Scene

_KINDS = {
    "hosts.tool": "/etc/hosts has a line of a fault tool",
    "hosts.dead_end": "/etc/hosts sends a name to this host or to nowhere",
    "resolver.dead_end": "the resolver's only servers are nowhere",
    "login.refused": "/etc/nologin keeps everybody out",
}
_HOSTS, _RESOLVER, _NOLOGIN = "/etc/hosts", "/etc/resolv.conf", "/etc/nologin"
_TOOLS = ("chaosblade", "chaosd", "chaos-mesh", "litmus", "gremlin", "krkn", "chaos experiment")
# Addresses for documentation, and the one that no host has.
_NOWHERE = ("0.0.0.0", "192.0.2.", "198.51.100.", "203.0.113.", "240.", "100::")  # noqa: S104 (compared, not bound)
_LOCAL = ("localhost", "localdomain", "ip6-", "broadcasthost", "loopback")


@family("names", FOREIGN, _KINDS)
def names(scene: Scene, found: Found) -> None:
    """Read the files; a site may send advertisers to 0.0.0.0, so a dead end alone is nobody's for certain."""
    own = (scene.text("/etc/hostname") or scene.text("/proc/sys/kernel/hostname") or "").strip().split(".")[0]
    for line in (scene.text(_HOSTS) or "").splitlines():
        words = line.partition("#")[0].split()
        if not words:
            continue
        where, by_hand = f"{_HOSTS}: {line.strip()[:100]}", f"take the line out of {_HOSTS}"
        if any(tool in line.partition("#")[2].lower() for tool in _TOOLS):
            found.add("hosts.tool", f"{words[1:]} is sent to {words[0]}", where, by_hand)
        elif words[0].startswith((*_NOWHERE, "127.0.0.", "::1")):
            away = [name for name in words[1:] if "." in name and not _is_own(name, own)]
            if away:
                what = f"{', '.join(away)} is sent to {words[0]}"
                found.add("hosts.dead_end", what, where, by_hand, owner=UNKNOWN)
    lines = (line.split() for line in (scene.text(_RESOLVER) or "").splitlines())
    servers = [words[1] for words in lines if len(words) > 1 and words[0] == "nameserver"]
    if servers and all(server.startswith(_NOWHERE) for server in servers):
        found.add("resolver.dead_end", f"names are asked of {', '.join(servers)}", _RESOLVER, f"put {_RESOLVER} right")
    if scene.status(_NOLOGIN) is not None:
        found.add("login.refused", "only root may log in", _NOLOGIN, f"rm {_NOLOGIN}", owner=UNKNOWN)


def _is_own(name: str, own: str) -> bool:
    return name.split(".", maxsplit=1)[0] == own or any(part in name for part in _LOCAL)
