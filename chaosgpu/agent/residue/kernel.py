# SPDX-License-Identifier: Apache-2.0
"""The kernel made to fail on purpose, and limits of it that are too low to work with."""

from typing import Optional

from chaosgpu.agent.residue.finding import FOREIGN, UNKNOWN, Found, Unlooked, family
from chaosgpu.agent.residue.scene import Scene

_KINDS = {
    "kernel.fault_injection": "the kernel makes its own allocations or requests fail",
    "kernel.function_injection": "a function of the kernel is made to return errors",
    "sysctl.few_ports": "hardly any port is left for connections",
    "sysctl.few_processes": "hardly any process may be started",
    "sysctl.few_files": "hardly any file may be opened",
    "sysctl.no_ping": "the host does not answer to ping",
}
_DEBUG = "/sys/kernel/debug"
_INJECTORS = ("failslab", "fail_page_alloc", "fail_make_request", "fail_io_timeout", "fail_futex", "fail_function")
_LIMITS = (
    ("sysctl.few_processes", "/proc/sys/kernel/pid_max", 4096),
    ("sysctl.few_processes", "/proc/sys/kernel/threads-max", 1024),
    ("sysctl.few_files", "/proc/sys/fs/file-max", 8192),
    ("sysctl.few_files", "/proc/sys/fs/nr_open", 1024),
)
_PORTS, _FEW_PORTS = "/proc/sys/net/ipv4/ip_local_port_range", 1000
_PING = "/proc/sys/net/ipv4/icmp_echo_ignore_all"


@family("kernel", FOREIGN, _KINDS)
def kernel(scene: Scene, found: Found) -> None:
    """Read limits and injectors; a limit counts only where no host of this kind can work with it."""
    for kind, path, least in _LIMITS:
        value = _number(scene.text(path))
        if value is not None and value < least:
            by_hand = f"sysctl --system, or write a higher number into {path}"
            found.add(kind, f"{path} is {value}", path, by_hand, owner=UNKNOWN)
    ports = (scene.text(_PORTS) or "").split()
    if len(ports) == 2 and int(ports[1]) - int(ports[0]) < _FEW_PORTS:  # noqa: PLR2004 (the first and the last)
        by_hand = f"sysctl --system, or echo '32768 60999' > {_PORTS}"
        found.add("sysctl.few_ports", f"{ports[0]} to {ports[1]}", _PORTS, by_hand, owner=UNKNOWN)
    if _number(scene.text(_PING)) == 1:
        found.add("sysctl.no_ping", "icmp_echo_ignore_all is 1", _PING, f"echo 0 > {_PING}", owner=UNKNOWN)
    if not scene.names(_DEBUG):
        raise Unlooked(f"{_DEBUG} is not mounted here, so nothing is known of the kernel's fault injection")
    for name in _INJECTORS:
        path = f"{_DEBUG}/{name}"
        if _number(scene.text(f"{path}/probability")) and _number(scene.text(f"{path}/times")) != 0:
            found.add("kernel.fault_injection", f"{name} is on", path, f"echo 0 > {path}/probability")
    functions = (scene.text(f"{_DEBUG}/fail_function/inject") or "").strip()
    if functions:
        where = f"{_DEBUG}/fail_function/inject"
        found.add("kernel.function_injection", functions[:200], where, f"echo > {where}")


def _number(text: Optional[str]) -> Optional[int]:
    try:
        return None if text is None else int(text.split()[0])
    except (ValueError, IndexError):
        return None
