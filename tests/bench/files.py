# SPDX-License-Identifier: Apache-2.0
"""What is written into the hosts: what all have alike, and what each has for itself."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from bench import triton
from bench.plan import BenchFailed, BenchPlan, HostPlan
from chaosgpu.agent import zipapp
from chaosgpu.sim import build, instance

__all__ = ["AGENT", "STATE", "write_common", "write_host"]

AGENT = "/usr/libexec/chaosgpu/agent.pyz"
STATE = "/run/simulated-gpus/state"
GPUS = 2
_TEMPLATE = "usr/lib/simulated-gpus"
_POLICY = {
    "version": 1,
    "permit": ["*"],
    "max_duration_s": 600,
    "protected": {"units": [], "gpus": []},
    "approvals": {"required": False, "allowed_signers": None},
    "python": None,
}
# `c 1 5` opens, and a node of NVIDIA's own number would not: there is no such driver in this kernel.
_SIM_BOOT = f"""\
#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes the simulated GPUs as they are after a start of the host: settings at their defaults, nobody on them.
set -eu
mkdir -p {Path(STATE).parent}
install -m 0666 /{_TEMPLATE}/template.state {STATE}.new
mv {STATE}.new {STATE}
for node in nvidiactl nvidia-uvm {" ".join(f"nvidia{gpu}" for gpu in range(GPUS))}; do
    [ -e "/dev/$node" ] || mknod -m 0666 "/dev/$node" c 1 5
done
"""
_SIM_UNIT = """\
[Unit]
Description=Simulated GPUs of this host
Before=ssh.service triton.service cron.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/libexec/simulated-gpus

[Install]
WantedBy=multi-user.target
"""
_SSHD = """\
MaxStartups 500:30:1000
MaxSessions 500
UseDNS no
PasswordAuthentication no
HostKey /etc/ssh/ssh_host_ed25519_key
"""
_VARIABLE = f"CHAOSGPU_SIM_STATE={STATE}"
_SUDOERS = f"""\
Defaults env_keep += "CHAOSGPU_SIM_STATE"
ops ALL=(root) TIMEOUT=1h NOPASSWD: {AGENT}
"""


def write_common(root: Path, plan: BenchPlan, say: Callable[[str], None]) -> None:
    """Write what all hosts have alike into a mounted tree: simulated driver, agent, policy, units, ssh."""
    libraries = build.libraries()
    for name in ("libnvidia-ml.so.1", "libcuda.so.1"):
        shutil.copy(libraries / "lib" / name, root / triton.LIBRARIES.lstrip("/") / name)
    shutil.copy(libraries / "bin" / "nvidia-smi", root / "usr/bin/nvidia-smi")
    agent = root / AGENT.lstrip("/")
    agent.parent.mkdir(parents=True)
    zipapp.build(agent)
    _write(root, "etc/chaosgpu/policy.json", json.dumps(_POLICY, indent=1) + "\n")
    _write(root, "usr/libexec/simulated-gpus", _SIM_BOOT, 0o755)
    _write(root, "etc/systemd/system/simulated-gpus.service", _SIM_UNIT)
    wanted = root / "etc/systemd/system/multi-user.target.wants/simulated-gpus.service"
    wanted.symlink_to("/etc/systemd/system/simulated-gpus.service")
    _write(root, "etc/systemd/system/triton.service", triton.unit(say))
    # Services, logins and sudo all find the simulated GPUs, as they would find real ones.
    _write(root, "etc/systemd/system.conf.d/50-simulated-gpus.conf", f"[Manager]\nDefaultEnvironment={_VARIABLE}\n")
    _write(root, "etc/environment", f"{_VARIABLE}\n")
    _write(root, "etc/sudoers.d/chaosgpu", _SUDOERS, 0o440)
    _write(root, "etc/ssh/sshd_config.d/bench.conf", _SSHD)
    _write(root, "etc/hosts", "".join(f"{h.address} {h.name}\n" for h in plan.hosts) + "127.0.0.1 localhost\n")
    for home, user in (("root", 0), ("home/ops", _user_id(root, "ops"))):
        _write(root, f"{home}/.ssh/authorized_keys", plan.path("key.pub").read_text(), 0o600)
        for path in (root / home / ".ssh", root / home / ".ssh/authorized_keys"):
            os.chown(path, user, user)
    (root / "root/.ssh").chmod(0o700)
    _run("ldconfig", "-r", str(root))


def write_host(host: HostPlan, number: int) -> None:
    """Write what a host has for itself into its mounted tree: name, address, keys, GPUs, model."""
    root = host.root
    _write(root, "etc/hostname", f"{host.name}\n")
    _write(root, "etc/machine-id", f"{os.urandom(16).hex()}\n", 0o444)
    network = f"[Match]\nName=host0\n[Network]\nAddress={host.address}/24\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n"
    _write(root, "etc/systemd/network/10-host0.network", network)
    shutil.copy(host.path("host_key"), root / "etc/ssh/ssh_host_ed25519_key")
    gpus = instance.create(root / _TEMPLATE, "h100", GPUS, seed=number, name="template")
    gpus.set_system(device_nodes="/dev")
    triton.write_model(root, gpus)


def _write(root: Path, name: str, text: str, mode: int = 0o644) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def _user_id(root: Path, name: str) -> int:
    for line in (root / "etc/passwd").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split(":")[2])
    raise BenchFailed(f"The hosts' Debian has no user {name}; remove it from the cache and let it be built again.")


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        raise BenchFailed(f"`{' '.join(command)}` ended with {done.returncode}: {done.stderr.strip()}")
