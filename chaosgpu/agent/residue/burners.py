# SPDX-License-Identifier: Apache-2.0
"""Programs that only eat: processor, memory, disk or GPU, as fault tools and hasty hands start them."""

import re

from chaosgpu.agent.residue.finding import FOREIGN, UNKNOWN, Found, family
from chaosgpu.agent.residue.scene import Scene

_BURNERS = {
    "process.stress": ("stress", "stress-ng", "stressapptest"),
    "process.gpu_burn": ("gpu_burn", "gpu-burn", "gpu_burn.exe", "dcgmproftester11", "dcgmproftester12"),
    "process.memtester": ("memtester",),
    "process.blade_burner": ("chaos_burncpu", "chaos_burnio", "chaos_burnmem", "chaos_filldisk", "chaos_os"),
}
_KINDS = {
    "process.stress": "stress, stress-ng or stressapptest runs",
    "process.gpu_burn": "gpu-burn or a tester of DCGM runs",
    "process.memtester": "memtester runs",
    "process.blade_burner": "a worker of ChaosBlade runs",
    "process.dd_fill": "dd or fallocate fills a file from a device of zeros or noise",
    "process.busy_shell": "a shell of one endless loop, or `yes` into nothing",
    "process.tracer": "strace makes system calls of another process fail",
}
_FILL = re.compile(r"if=/dev/(zero|urandom|random)\b")
_LOOP = re.compile(r"while\s+(true|:|\[\s*1\s*\])\s*;\s*do\s*(:|true|\s)*;?\s*done")


@family("burners", FOREIGN, _KINDS)
def burners(scene: Scene, found: Found) -> None:
    """Know them by the name of their program, or by what they were told to do."""
    ours = scene.leases.pids()
    for process in scene.others:
        where, by_hand = f"pid {process.pid}", f"kill {process.pid}, when nobody knows it"
        if process.pid in ours:
            continue
        for kind, names in _BURNERS.items():
            if process.called(*names):
                found.add(kind, f"{process.shown} runs", where, by_hand)
        line = " ".join(process.words)
        if process.called("dd") and _FILL.search(line):
            found.add("process.dd_fill", f"{process.shown} fills a file or device", where, by_hand, owner=UNKNOWN)
        if process.called("yes") or _LOOP.search(line):
            found.add("process.busy_shell", f"{process.shown} burns a processor", where, by_hand, owner=UNKNOWN)
        if process.called("strace") and "inject=" in line:
            found.add("process.tracer", f"{process.shown} makes calls fail", where, by_hand)
