# SPDX-License-Identifier: Apache-2.0
"""What is written into a virtual machine's disk beyond what test hosts have: a shell, a cable, little to boot."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from bench import files
from bench.plan import ROOT, BenchFailed, BenchPlan
from chaosgpu.agent.units import RECOVER, SWEEP, systemd_units
from chaosgpu.sim import instance

__all__ = ["ENTRY", "GPUS", "RELAPSE", "SAW", "SOURCES", "write_guest"]

ENTRY = "/usr/libexec/chaosgpu/entry"
GPUS = 8
RELAPSE = "/etc/relapse"  # the GPUs whose power limit the host itself sets to 300 W at each start
SAW = "/var/gpu-service-saw"  # what the GPU service found at its start
_LEASES = "/var/lib/chaosgpu/leases"
# What goes into a disk; another content is another disk.
SOURCES = (Path(__file__), Path(__file__).with_name("entry.py"), ROOT / "tests/support/agent_faults.py")

# A shell on the second serial port: there from early in the boot, with no network and no key exchange.
_SHELL = """\
#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
exec </dev/ttyS1 >/dev/ttyS1 2>/dev/null
stty raw -echo
mkdir -p /run/shell
read -r boot < /proc/sys/kernel/random/boot_id
echo "ready $boot"
while read -r number limit script; do
    echo "$script" | base64 -d > /run/shell/script
    timeout -k 1 "$limit" sh /run/shell/script > /run/shell/out 2> /run/shell/err < /dev/null
    status=$?
    echo "done $number $status .$(base64 -w0 /run/shell/out) .$(base64 -w0 /run/shell/err)"
done
"""
_SHELL_UNIT = """\
[Unit]
DefaultDependencies=no
After=systemd-tmpfiles-setup-dev.service

[Service]
ExecStart=/usr/libexec/vm-shell
Restart=always
RestartSec=0
KillMode=process
"""
# No udev and no networkd: they are half of a boot.
_NETWORK_UNIT = """\
[Unit]
DefaultDependencies=no
Before=network.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=modprobe --all virtio_pci virtio_net
ExecStart=ip link set lo up
ExecStart=ip address add 10.0.2.15/24 dev eth0
ExecStart=ip link set eth0 up
"""
# As the driver's persistence daemon: it comes before the boot unit and sets again what was last set.
_PERSISTENCED = f"""\
[Unit]
After=simulated-gpus.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=sh -c 'for gpu in $(cat {RELAPSE} 2>/dev/null); do nvidia-smi -i $gpu -pl 300; done'
"""
# In the place of the server that uses GPUs; what it sees at its start is what the host gives its work.
_GPU_SERVICE = f"""\
[Unit]
After=simulated-gpus.service nvidia-persistenced.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=sh -c 'nvidia-smi --query-gpu=power.limit --format=csv,noheader,nounits > {SAW}'
"""
_COMPILE = """\
import importlib._bootstrap_external as loader, importlib.util, sys, zipfile
with zipfile.ZipFile(sys.argv[1], "a") as archive:
    for name in [name for name in archive.namelist() if name.endswith(".py")]:
        source = archive.read(name)
        code = compile(source, f"{sys.argv[1]}/{name}", "exec")
        raw = loader._code_to_hash_pyc(code, importlib.util.source_hash(source), False)
        archive.writestr(f"{name}c", bytes(raw))
"""
_JOURNAL = "[Journal]\nStorage=volatile\n"
_MASKED = (
    "cron.service", "cryptsetup.target", "dev-hugepages.mount", "dev-mqueue.mount", "getty.target",
    "integritysetup.target", "kmod-static-nodes.service", "modprobe@.service", "proc-sys-fs-binfmt_misc.automount",
    "remote-fs.target", "sys-fs-fuse-connections.mount", "sys-kernel-config.mount", "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount", "systemd-ask-password-console.path", "systemd-ask-password-wall.path",
    "systemd-binfmt.service", "systemd-firstboot.service", "systemd-initctl.socket", "systemd-journal-flush.service",
    "systemd-journald-audit.socket", "systemd-logind.service", "systemd-machine-id-commit.service",
    "systemd-modules-load.service", "systemd-networkd.service", "systemd-networkd.socket",
    "systemd-pcrphase-sysinit.service", "systemd-pcrphase.service", "systemd-random-seed.service",
    "systemd-remount-fs.service", "systemd-repart.service", "systemd-sysctl.service", "systemd-sysusers.service",
    "systemd-tmpfiles-clean.timer", "systemd-udev-trigger.service", "systemd-udevd-control.socket",
    "systemd-udevd-kernel.socket", "systemd-udevd.service", "systemd-update-utmp-runlevel.service",
    "systemd-update-utmp.service", "systemd-user-sessions.service", "veritysetup.target",
)  # fmt: skip


def write_guest(root: Path, folder: Path, say: Callable[[str], None]) -> None:
    """Write all of it into a copy of the Debian tree; the keys are in `folder`."""
    files.write_common(root, BenchPlan("", str(folder), (), (), (), None), say)
    shutil.copy(folder / "host_key", root / "etc/ssh/ssh_host_ed25519_key")
    instance.create(root / "usr/lib/simulated-gpus", "h100", GPUS, seed=1, name="template")
    _compile(root)
    test = root / "usr/libexec/chaosgpu/test/support"
    test.mkdir(parents=True)
    shutil.copy(ROOT / "tests/support/agent_faults.py", test)
    _write(root, ENTRY, f"#!/usr/bin/python3 -IS\n{Path(__file__).with_name('entry.py').read_text()}", 0o755)
    _write(root, "/usr/libexec/vm-shell", _SHELL, 0o755)
    _write(root, "/etc/machine-id", f"{os.urandom(16).hex()}\n", 0o444)
    _write(root, "/etc/hostname", "gpu1\n")
    _write(root, "/etc/systemd/journald.conf.d/vm.conf", _JOURNAL)
    units = {
        "vm-shell.service": _SHELL_UNIT,
        "vm-network.service": _NETWORK_UNIT,
        "nvidia-persistenced.service": _PERSISTENCED,
        "triton.service": _GPU_SERVICE,
        **systemd_units((files.AGENT,), _LEASES),
    }
    for name, text in units.items():
        _write(root, f"/etc/systemd/system/{name}", text)
    for name in _MASKED:
        _link(root, f"/etc/systemd/system/{name}", os.devnull)
    for generator in (root / "usr/lib/systemd/system-generators").iterdir():
        _link(root, f"/etc/systemd/system-generators/{generator.name}", os.devnull)
    (root / "etc/systemd/system/multi-user.target.wants/ssh.service").unlink(missing_ok=True)
    wanted = {"vm-shell.service": "sysinit", "ssh.socket": "sockets", SWEEP: "timers"}
    wanted |= dict.fromkeys(("vm-network.service", "nvidia-persistenced.service", "triton.service", RECOVER), "")
    for name, target in wanted.items():
        place = "/etc/systemd/system" if name in units else "/lib/systemd/system"
        _link(root, f"/etc/systemd/system/{target or 'multi-user'}.target.wants/{name}", f"{place}/{name}")


def _compile(root: Path) -> None:
    """Put each module's compiled form beside it: an emulated processor takes seconds to compile them at each start."""
    done = subprocess.run(
        ["chroot", str(root), "python3", "-c", _COMPILE, files.AGENT],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise BenchFailed(f"The agent could not be compiled for the virtual machines: {done.stderr}")


def _write(root: Path, name: str, text: str, mode: int = 0o644) -> None:
    path = root / name.lstrip("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_text(text)
    path.chmod(mode)


def _link(root: Path, name: str, target: str) -> None:
    path = root / name.lstrip("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(target)
