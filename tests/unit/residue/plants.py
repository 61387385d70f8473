# SPDX-License-Identifier: Apache-2.0
"""What no test host of ours can carry, as the very text that the kernel or the program shows for it."""

from dataclasses import dataclass, field

__all__ = ["PLANTS", "Plant"]


@dataclass(frozen=True)
class Plant:
    """Files of a host and what its programs say, and the one kind of residue that they are."""

    kind: str
    files: dict[str, str] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)
    owner: str = "foreign"


def _legacy(rule: str) -> dict[str, str]:
    return {"iptables-legacy-save": f"*filter\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n{rule}\nCOMMIT\n"}


_TABLES = {"/proc/net/ip_tables_names": "filter\n"}

PLANTS = (
    # sch_netem and act_mirred are no part of this kernel.
    Plant(
        "qdisc.netem",
        said={
            "tc -j qdisc show": '[{"kind":"noqueue","handle":"0:","dev":"lo","root":true,"refcnt":2,"options":{}},'
            '{"kind":"netem","handle":"8001:","dev":"eth0","root":true,"refcnt":2,"options":{"limit":1000,'
            '"delay":{"delay":0.1,"jitter":0,"correlation":0},"loss-random":{"loss":0.05,"correlation":0},"ecn":false}}]'
        },
    ),
    Plant(
        "qdisc.redirect",
        said={
            "tc -j qdisc show": '[{"kind":"ingress","handle":"ffff:","dev":"eth0","parent":"ffff:fff1","options":{}}]'
        },
        owner="unknown",
    ),
    # The old iptables is no part of this kernel.
    Plant(
        "firewall.legacy_by_chance",
        _TABLES,
        _legacy("-A INPUT -p tcp -m statistic --mode random --probability 0.30000000000 -j DROP"),
    ),
    Plant("firewall.legacy_tool", _TABLES, _legacy(":CHAOS-INPUT - [0:0]\n-A INPUT -j CHAOS-INPUT")),
    Plant("firewall.legacy_out_dropped", _TABLES, _legacy("-A OUTPUT -d 10.9.9.9/32 -j DROP"), "unknown"),
    # A cgroup v1 host.
    Plant(
        "cgroup.frozen_v1",
        {
            "/sys/fs/cgroup/freezer/cgroup.procs": "",
            "/sys/fs/cgroup/freezer/web/cgroup.procs": "17\n",
            "/sys/fs/cgroup/freezer/web/freezer.state": "FROZEN\n",
        },
    ),
    # The machine's kernel is shared by all test hosts: nothing may be planted in it.
    Plant("block.fails", {"/sys/block/dm-3/dm/name": "bad\n"}, {"dmsetup table": "bad: 0 2048 flakey 7:0 0 1 15\n"}),
    Plant("block.loop_deleted", {"/sys/block/loop3/loop/backing_file": "/data/fill.img (deleted)\n"}, owner="unknown"),
    # Without a lease of that name here it may be a lab's; test_file_system_tops.py has those of leases.
    Plant(
        "fill.left",
        {"/proc/self/mounts": "/dev/vdb /data ext4 rw 0 0\n", "/data/chaosgpu-fill-l9/fill": "chaosgpu-fill-l9: …"},
        owner="unknown",
    ),
    Plant("clock.off", {"/sys/class/rtc/rtc0/since_epoch": "1000000000\n"}, owner="unknown"),
    Plant("driver.nouveau", {"/sys/module/nouveau/refcnt": "3\n"}, owner="unknown"),
    Plant(
        "kernel.fault_injection",
        {"/sys/kernel/debug/failslab/probability": "10\n", "/sys/kernel/debug/failslab/times": "-1\n"},
    ),
    Plant("kernel.function_injection", {"/sys/kernel/debug/fail_function/inject": "open_ctree\t-12\n"}),
    Plant("sysctl.few_processes", {"/proc/sys/kernel/pid_max": "301\n"}, owner="unknown"),
    Plant("sysctl.few_files", {"/proc/sys/fs/file-max": "512\n"}, owner="unknown"),
)
