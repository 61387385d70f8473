# SPDX-License-Identifier: Apache-2.0
"""The texts of what starts the agent on a host by itself: a sweep timer, a boot unit, or two lines of cron."""

import shlex
from typing import Dict, Sequence

__all__ = ["BEFORE", "CRON_FILE", "RECOVER", "SWEEP", "cron_file", "exec_line", "systemd_units"]

RECOVER, SWEEP = "chaosgpu-recover.service", "chaosgpu-sweep.timer"
CRON_FILE = "chaosgpu"
# Whoever puts work on GPUs, and databases: none starts before the undo has had its turn. A name that is not there does
# no harm.
BEFORE = (
    "docker.service", "containerd.service", "crio.service", "podman.service", "kubelet.service", "k3s.service",
    "k3s-agent.service", "rke2-agent.service", "nomad.service", "slurmd.service", "pbs.service", "condor.service",
    "triton.service", "tritonserver.service", "vllm.service", "ollama.service", "nvidia-dcgm.service",
    "dcgm-exporter.service", "nvidia-dcgm-exporter.service", "gpud.service",
    "chroma.service", "milvus.service", "postgresql.service", "qdrant.service", "weaviate.service",
)  # fmt: skip
# The driver's own services come first: an undo speaks to the driver.
_AFTER = (
    "local-fs.target",
    "systemd-modules-load.service",
    "nvidia-persistenced.service",
    "nvidia-fabricmanager.service",
)
_BOOT_BOUND_S = 120
_SWEEP_EVERY_S = 30

_RECOVER = """\
# Written by `chaosgpu agent install-units`; written anew by it, too.
[Unit]
Description=Undo of the chaosgpu leases of an earlier start of this host
RequiresMountsFor={leases}
ConditionDirectoryNotEmpty={leases}
After={after}
Before={before}

[Service]
Type=oneshot
ExecStart={exec_line}
# A driver that hangs must not keep the host from booting; what is left is stuck, and this unit failed.
TimeoutStartSec={bound_s}
OOMScoreAdjust=-1000
KillMode=process

[Install]
WantedBy=multi-user.target
"""
_SWEEP_SERVICE = """\
# Written by `chaosgpu agent install-units`; written anew by it, too.
[Unit]
Description=Sweep of the chaosgpu leases of this host
RequiresMountsFor={leases}
ConditionDirectoryNotEmpty={leases}
After={recover}

[Service]
Type=oneshot
ExecStart={exec_line}
TimeoutStartSec={bound_s}
OOMScoreAdjust=-1000
KillMode=process
"""
_SWEEP_TIMER = """\
# Written by `chaosgpu agent install-units`; written anew by it, too.
[Unit]
Description=Sweep of the chaosgpu leases of this host every {every_s} s

[Timer]
OnCalendar=*:*:0/{every_s}
AccuracySec=1s
Persistent=true

[Install]
WantedBy=timers.target
"""
_CRON = """\
# Written by `chaosgpu agent install-units`; written anew by it, too.
SHELL=/bin/sh
PATH=/usr/sbin:/usr/bin:/sbin:/bin
@reboot root {command}
* * * * * root {command}
"""


def systemd_units(command: Sequence[str], leases: str, before: Sequence[str] = ()) -> Dict[str, str]:
    """Return each unit's name and text; `before` adds this site's own users of GPUs."""
    line = exec_line(command)
    return {
        RECOVER: _RECOVER.format(
            leases=_quoted(leases),
            after=" ".join(_AFTER),
            before=" ".join((*BEFORE, *before)),
            exec_line=line,
            bound_s=_BOOT_BOUND_S,
        ),
        "chaosgpu-sweep.service": _SWEEP_SERVICE.format(
            leases=_quoted(leases), recover=RECOVER, exec_line=line, bound_s=_BOOT_BOUND_S
        ),
        SWEEP: _SWEEP_TIMER.format(every_s=_SWEEP_EVERY_S),
    }


def cron_file(command: Sequence[str]) -> str:
    """Return the file for /etc/cron.d: at boot, and every minute, which is as often as cron can."""
    words = " ".join(shlex.quote(word) for word in (*command, "tend"))
    return _CRON.format(command=words.replace("%", "\\%"))


def exec_line(command: Sequence[str]) -> str:
    """Return the command as ExecStart= takes it."""
    return " ".join(_quoted(word).replace("$", "$$") for word in (*command, "tend"))


def _quoted(word: str) -> str:
    escaped = word.replace("\\", "\\\\").replace("%", "%%")
    if any(letter.isspace() or letter in "\"';" for letter in word):
        return '"' + escaped.replace('"', '\\"') + '"'
    return escaped
