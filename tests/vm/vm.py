# SPDX-License-Identifier: Apache-2.0
"""A virtual machine with its own kernel, clock, disk and boot id: started, rebooted, and its plug pulled.

QEMU emulates the processor and counts its instructions as time (`-icount`): on a busy machine the guest's own clock
goes slower, and no time limit inside it is missed for that. What ends QEMU is its parent's death, `kill -9` included.
"""

import ctypes
import json
import shlex
import shutil
import signal
import socket
import subprocess
from contextlib import suppress
from typing import Any

from bench import files
from bench.host import end_of
from bench.plan import BENCHES, BenchFailed, me, read_identity, write_json
from vm.conversation import Monitor, Said, Shell
from vm.disk import Disk
from vm.guest import ENTRY

__all__ = ["VMS", "Vm", "agent_line", "dies_with_us", "sweep", "watts"]

VMS = BENCHES.with_name("vm")
_BOOT_S = 600.0
_OFF_S = 20.0
_AWAKE_TRIES = 12
_KERNEL_LINE = (
    "root=/dev/nvme0n1 rw rootfstype=ext4 console=ttyS0 quiet net.ifnames=0 systemd.show_status=0 mitigations=off "
    "audit=0 apparmor=0 tsc=reliable no_timer_check nokaslr cryptomgr.notests 8250.nr_uarts=2 panic=-1"
)
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


def dies_with_us() -> None:
    """Let the kernel kill this child when its parent dies; to be called in the child."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def sweep() -> None:
    """Remove what killed test runs have left: files only, since their machines died with them."""
    for folder in VMS.iterdir() if VMS.is_dir() else ():
        owner = folder / "owner.json"
        if not owner.exists() or read_identity(owner) is None:
            shutil.rmtree(folder, ignore_errors=True)


class Vm:
    """One virtual machine; its disk and sockets are in a folder of its own."""

    def __init__(self, disk: Disk, name: str) -> None:
        self._disk = disk
        self.folder = VMS / f"{name}-{me().pid}"
        self._qemu: subprocess.Popen[bytes] | None = None
        self.shell = Shell(self.folder / "shell", self._running)
        self.monitor = Monitor(self.folder / "monitor")
        self.port = 0

    def make(self) -> None:
        """Give it its disk; whose it is, is written first."""
        sweep()
        self.folder.mkdir(parents=True)
        mine = me()
        write_json(self.folder / "owner.json", {"pid": mine.pid, "start_time": mine.start_time})
        image = str(self.folder / "disk.img")
        subprocess.run(["cp", "--sparse=always", str(self._disk.image), image], check=True, timeout=60)

    def power_on(self, rtc: str = "utc") -> str:
        """Start it, wait until it has, and return its boot id."""
        self.start(rtc)
        return self._booted("")

    def start(self, rtc: str = "utc") -> None:
        """Start it; `rtc` is what its clock says, as QEMU takes it."""
        for name in ("shell", "monitor"):
            (self.folder / name).unlink(missing_ok=True)
        self.port = _free_port()
        with (self.folder / "qemu.log").open("ab") as log:
            self._qemu = subprocess.Popen(
                self._command(rtc), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                preexec_fn=dies_with_us,  # noqa: PLW1509 (one call, and no thread waits for it)
            )  # fmt: skip

    def pull_plug(self) -> None:
        """Kill it: what the guest had not yet synced is lost, what it had is on the disk."""
        if self._qemu is not None:
            self._qemu.kill()
            self._qemu.wait(_OFF_S)
        self.shell.close()

    def reboot(self) -> str:
        """Reboot in an orderly way; return the new boot id."""
        before = self.shell.boot
        self.shell.tell("systemctl reboot")
        return self._booted(before)

    def end(self) -> None:
        """End it and remove all that was its own."""
        self.pull_plug()
        shutil.rmtree(self.folder, ignore_errors=True)

    def pid(self) -> int:
        """Return QEMU's pid; 0 where it was never started."""
        return 0 if self._qemu is None else self._qemu.pid

    def run(self, script: str, within_s: float = 60.0, *, check: bool = True) -> str:
        """Run a script there and return what it wrote; time limits count on its clock."""
        said = self.said(script, within_s)
        if check and said.status != 0:
            raise BenchFailed(f"`{script}` ended with {said.status} in the virtual machine: {said.err or said.out}")
        return said.out

    def said(self, script: str, within_s: float = 60.0) -> Said:
        """Run a script there and return all of it."""
        return self.shell.run(script, within_s)

    def agent(self, verb: str, request: dict[str, Any] | None = None, *, entry: bool = False) -> dict[str, Any]:
        """Ask its agent; `entry` is the one with the tests' own fault."""
        said = self.said(agent_line(verb, request, entry=entry))
        try:
            answer: dict[str, Any] = json.loads(said.out)
        except ValueError as error:
            raise BenchFailed(f"The agent gave no answer to {verb} ({said.status}): {said.err}") from error
        return answer

    def stopped_agent(self, verb: str, request: dict[str, Any], step: str) -> None:
        """Start a verb there that stops for ever at this step, and wait until it has."""
        line = agent_line(verb, request, entry=True)
        script = (
            f"rm -f /run/stopped-*; export CHAOSGPU_STOP={shlex.quote(step)}\n"
            f"setsid sh -c {shlex.quote(line)} > /run/answer 2>&1 &\n"
            "for n in $(seq 300); do [ -e /run/stopped-* ] && exit 0; sleep 0.1; done; cat /run/answer >&2; exit 1"
        )
        self.run(script)

    def answer_again(self) -> None:
        """Ask until it answers: what reaches a serial port that is just waking up is lost."""
        for _ in range(_AWAKE_TRIES):
            with suppress(BenchFailed):
                self.said("true", 0.5)
                return
        raise BenchFailed("The virtual machine does not answer after it was woken up.")

    def power_limits(self) -> list[int]:
        """Return each GPU's power limit in watts, as nvidia-smi sees it."""
        return watts(self.run("nvidia-smi --query-gpu=power.limit --format=csv,noheader,nounits"))

    def ssh(self, command: str, *options: str) -> list[str]:
        """Return the words with which ssh runs a command there."""
        known = self.folder / "known_hosts"
        key = (self._disk.folder / "host_key.pub").read_text()
        known.write_text(f"[127.0.0.1]:{self.port} {key}")
        plain = {"UserKnownHostsFile": known, "IdentityFile": self._disk.folder / "key", "BatchMode": "yes"}
        words = [word for name, value in plain.items() for word in ("-o", f"{name}={value}")]
        return ["ssh", "-F", "none", *words, *options, "-p", str(self.port), "root@127.0.0.1", command]

    def _booted(self, before: str) -> str:
        try:
            boot = self.shell.wait_ready(_BOOT_S, other_than=before)
            self.shell.run("systemctl is-system-running --wait", _BOOT_S / 10)
        except BenchFailed as error:
            said = end_of(self.folder / "console.log") + end_of(self.folder / "qemu.log")
            raise BenchFailed(f"The virtual machine did not start within {_BOOT_S:g} s. {error}\n{said}") from error
        return boot

    def _running(self) -> bool:
        return self._qemu is not None and self._qemu.poll() is None

    def _command(self, rtc: str) -> list[str]:
        at = self.folder
        return [
            "qemu-system-x86_64", "-M", "q35", "-accel", "tcg,thread=single", "-icount", "shift=1,sleep=on",
            "-cpu", "qemu64", "-smp", "1", "-m", "768", "-nodefaults", "-no-user-config", "-display", "none",
            "-rtc", f"base={rtc},clock=vm", "-kernel", str(self._disk.kernel), "-append", _KERNEL_LINE,
            "-serial", f"file:{at}/console.log", "-serial", f"unix:{at}/shell,server=on,wait=off",
            "-qmp", f"unix:{at}/monitor,server=on,wait=off",
            "-drive", f"file={at}/disk.img,if=none,id=disk,format=raw,cache=writeback",
            "-device", "nvme,drive=disk,serial=disk",
            "-netdev", f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{self.port}-:22",
            "-device", "virtio-net-pci,netdev=net,id=cable,romfile=",
        ]  # fmt: skip


def agent_line(verb: str, request: dict[str, Any] | None = None, *, entry: bool = False) -> str:
    """Return the line of shell that asks the agent."""
    asked = shlex.quote(json.dumps({"protocol": 1, **(request or {})}))
    return f"printf %s {asked} | {ENTRY if entry else files.AGENT} {verb}"


def watts(table: str) -> list[int]:
    """Read what nvidia-smi writes of power limits."""
    return [round(float(row)) for row in table.split()]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
