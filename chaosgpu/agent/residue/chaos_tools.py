# SPDX-License-Identifier: Apache-2.0
"""Other fault tools at work: their daemons, and the processes that wait to undo something."""

import re

from chaosgpu.agent.residue.finding import FOREIGN, UNKNOWN, Found, family
from chaosgpu.agent.residue.processes import Process
from chaosgpu.agent.residue.scene import Scene

_DAEMONS = {
    "tool.chaosblade": (("blade",), "blade status --type create, then blade destroy UID"),
    "tool.chaosd": (("chaosd",), "chaosd search --status success --all, then chaosd recover UID"),
    "tool.chaos_mesh": (("chaos-daemon", "chaos-controller-manager", "chaos-tproxy"), "delete its chaos resources"),
    "tool.pumba": (("pumba",), "end it with SIGTERM and look at the qdiscs of its containers"),
    "tool.toxiproxy": (("toxiproxy-server", "toxiproxy"), "toxiproxy-cli list, then remove the toxics"),
    "tool.litmus": (("litmus-helper", "go-runner", "chaos-runner"), "see the ChaosEngine that started it"),
    "tool.gremlin": (("gremlind", "gremlin"), "gremlin rollback"),
    "tool.krkn": (("krkn", "kraken", "run_kraken.py"), "see its scenario's own undo"),
}
_KINDS = {
    **{kind: f"{kind.partition('.')[2].replace('_', ' ')} runs" for kind in _DAEMONS},
    "tool.blade_destroyer": "a process that waits to destroy an experiment of ChaosBlade",
    "tool.sleeping_undo": "a shell that sleeps and then undoes something: the fault is in force",
}
_DESTROYER = re.compile(r"\bblade\s+destroy\b")
_SLEEPING = re.compile(
    r"sleep\s+[\d.]+\w?\s*(;|&&).*"
    r"(tc qdisc|iptables|ip6tables|nft |kill -(CONT|18)|nvidia-smi|systemctl|ip (route|rule|link))"
)
_SHELLS = ("sh", "bash", "dash", "ksh", "zsh", "busybox")


@family("chaos tools", FOREIGN, _KINDS)
def chaos_tools(scene: Scene, found: Found) -> None:
    """Know them by the name of their program. A daemon may be meant to run here: it is shown all the same."""
    for process in scene.others:
        where, line = f"pid {process.pid}", " ".join(process.words)
        if _DESTROYER.search(line) and not process.called("grep"):
            by_hand = "do not kill it: blade destroy UID now, and it ends"
            found.add("tool.blade_destroyer", f"{process.shown} waits", where, by_hand)
        elif process.called(*_SHELLS) and _SLEEPING.search(line):
            by_hand = "do not kill it: run what it would run, then end it"
            found.add("tool.sleeping_undo", f"{process.shown} waits", where, by_hand)
        else:
            _daemon(process, found)


def _daemon(process: Process, found: Found) -> None:
    for kind, (names, by_hand) in _DAEMONS.items():
        if process.called(*names) or _script(process) in names:
            found.add(
                kind,
                f"{process.shown} runs",
                f"pid {process.pid}",
                by_hand,
                owner=UNKNOWN if kind == "tool.gremlin" else None,
            )


def _script(process: Process) -> str:
    """Return the name of the script that an interpreter runs."""
    words = process.words
    return words[1].rpartition("/")[2] if len(words) > 1 and process.program.startswith("python") else ""
