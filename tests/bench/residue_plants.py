# SPDX-License-Identifier: Apache-2.0
"""Residue of every kind that a test host can carry, planted for real: as root's shell on the host leaves it."""

__all__ = ["FIRST", "LATER", "PREPARE", "UNKNOWN_OWNER"]

# Programs that are known by their name: sleep and an interpreter under that name. What they are told is real.
PREPARE = """
mkdir -p /root/plant
for name in stress-ng gpu_burn memtester chaos_burncpu yes chaosd blade chaos-daemon pumba toxiproxy-server \
    litmus-helper gremlind krkn; do cp /bin/sleep /root/plant/$name; done
mkfifo /root/plant/pipe
cat > /root/plant/as <<'EOF'
#!/bin/bash
exec -a "$1" python3 -c 'import time; time.sleep(3000)' "${@:2}"
EOF
cat > /root/plant/sql <<'EOF'
#!/usr/bin/python3
import sqlite3, sys
sqlite3.connect(sys.argv[1]).executescript(sys.argv[2])
EOF
chmod +x /root/plant/as /root/plant/sql
"""
_START = "setsid {} >/dev/null 2>&1 </dev/null &"


def _started(command: str) -> str:
    return _START.format(command)


def _run(name: str) -> str:
    return _started(f"/root/plant/{name} 3000")


def _preloaded(library: str) -> str:
    return _started(f"env LD_PRELOAD={library} /bin/sleep 3000")


def _drop_in(folder: str, name: str, text: str) -> str:
    return f"mkdir -p {folder}/triton.service.d; printf '[Service]\\n{text}\\n' > {folder}/triton.service.d/{name}.conf"


_HOME = "/var/lib/chaosgpu"
_LEASES = f"{_HOME}/leases"
_CLAIM = "/var/tmp/chaosgpu-claim"  # noqa: S108 (where the agent's claims are)

# All at once on one host; `ended` is a lease that was applied and undone before.
FIRST: dict[str, str] = {
    # Ours.
    "lease.half_made": f"mkdir {_LEASES}/half; touch -d '1 hour ago' {_LEASES}/half",
    "lease.half_written": f"touch {_LEASES}/ended/state.new",
    "claim.ended": f"""echo '{{"claim": "x", "lease": "ended", "home": "{_HOME}"}}' > {_CLAIM}-1.json""",
    "claim.without_lease": f"""echo '{{"claim": "x", "lease": "gone", "home": "{_HOME}"}}' > {_CLAIM}-2.json""",
    "claim.unreadable": f"echo nonsense > {_CLAIM}-3.json",
    "claim.half_written": f"echo half > {_CLAIM}-4.json.new",
    "process.keeper": _started(f"/root/plant/as agent keep {_LEASES}/ended"),
    "process.reverter": _started(f"/root/plant/as agent due {_LEASES}/ended"),
    "process.holder": _started(f"env CHAOSGPU_LEASE={_LEASES}/ended /root/plant/as agent hold {_LEASES}/ended"),
    "process.tagged": _started(f"env CHAOSGPU_LEASE={_LEASES}/ended sleep 3000"),
    "process.shim": _preloaded("/usr/lib/chaosgpu-shim.so"),
    "unit.timer": "systemd-run --unit=chaosgpu-revert-gone --on-active=3000 true",
    "unit.reverter": "systemd-run --unit=chaosgpu-revert-lost sleep 3000",
    "unit.keeper": _started("systemd-run --scope --unit=chaosgpu-keep-gone-12345 sleep 3000"),
    "unit.holder": _started("systemd-run --scope --unit=chaosgpu-hold-gone sleep 3000"),
    "unit.failed": "systemd-run --wait --unit=chaosgpu-failed false || true",
    "dropin.ours": _drop_in("/run/systemd/system", "zz-chaosgpu-gone", "Nice=5"),
    "install.half": "rm /etc/systemd/system/chaosgpu-recover.service",
    "install.sweep_stopped": "systemctl stop chaosgpu-sweep.timer",
    "install.agent_missing": "sed -i 's#^ExecStart=.*#ExecStart=/opt/old/agent.pyz tend#' "
    "/etc/systemd/system/chaosgpu-sweep.service",
    "install.cron_agent_missing": "echo '* * * * * root /opt/old/agent.pyz tend' > /etc/cron.d/chaosgpu",
    "halt.latched": "mkdir -p /run/chaosgpu; echo pager > /run/chaosgpu/HALT",
    "toggle.left": "mkdir /run/chaosgpu-cuda-errors-gone",
    "aside.left": "mkdir /chaosgpu-aside-gone; echo x > /chaosgpu-aside-gone/0",
    # Processes and groups.
    "process.stopped": _started("sleep 3001") + " sleep 0.3; pkill -STOP -f '^sleep 3001'",
    "cgroup.frozen": "systemd-run --unit=frozen sleep 3000; systemctl freeze frozen.service",
    "process.stress": _run("stress-ng"),
    "process.gpu_burn": _run("gpu_burn"),
    "process.memtester": _run("memtester"),
    "process.blade_burner": _run("chaos_burncpu"),
    "process.dd_fill": _started("sh -c 'exec dd if=/dev/zero of=/root/plant/pipe'"),
    "process.busy_shell": _run("yes"),
    "process.tracer": _started("/root/plant/as strace -f -e inject=openat:error=EIO -p 1"),
    # Other tools.
    "tool.chaosblade": _run("blade"),
    "tool.chaosd": _run("chaosd"),
    "tool.chaos_mesh": _run("chaos-daemon"),
    "tool.pumba": _run("pumba"),
    "tool.toxiproxy": _run("toxiproxy-server"),
    "tool.litmus": _run("litmus-helper"),
    "tool.gremlin": _run("gremlind"),
    "tool.krkn": _run("krkn"),
    "tool.blade_destroyer": _started("sh -c 'sleep 3000; /opt/chaosblade/blade destroy 7c1f7afc281482c8'"),
    "tool.sleeping_undo": _started("sh -c 'sleep 3000; tc qdisc del dev host0 root'"),
    "record.chaosblade": "mkdir -p /opt/chaosblade; /root/plant/sql /opt/chaosblade/chaosblade.dat "
    '"create table experiment (uid text, command text, sub_command text, status text); insert into experiment values '
    "('a1', 'cpu', 'fullload', 'Success'), ('a2', 'mem', 'load', 'Destroyed');\"",
    "record.chaosd": "mkdir -p /usr/local/chaosd; /root/plant/sql /usr/local/chaosd/chaosd.dat "
    '"create table experiments (uid text, kind text, action text, status text); insert into experiments values '
    "('b1', 'network', 'delay', 'success');\"",
    "record.toxiproxy": """echo '[{"name": "db", "toxics": [{"type": "latency"}]}]' > /etc/toxiproxy.json""",
    "record.litmus": "mkdir -p /var/lib/litmus; touch /var/lib/litmus/network-latency.helper",
    "preload.system": "echo /lib/x86_64-linux-gnu/libm.so.6 > /etc/ld.so.preload",
    "preload.faketime": _preloaded("/usr/lib/faketime/libfaketime.so.1"),
    "preload.fiu": _preloaded("/usr/lib/fiu_run_preload.so:/usr/lib/fiu_posix_preload.so"),
    "preload.eatmydata": _preloaded("libeatmydata.so"),
    "preload.cuda": _preloaded("/opt/libcuda_inject.so"),
    # Units and drop-ins.
    "unit.masked_until_reboot": "ln -s /dev/null /run/systemd/system/ollama.service",
    "unit.masked": "ln -s /dev/null /etc/systemd/system/vllm.service",
    "unit.gpu_failed": "printf '[Service]\\nExecStart=/bin/false\\n' > /etc/systemd/system/gpud.service; "
    "systemctl daemon-reload; systemctl start gpud.service || true",
    "unit.driver_stopped": "printf '[Service]\\nExecStart=/bin/sleep 9\\n[Install]\\nWantedBy=multi-user.target\\n' "
    "> /etc/systemd/system/nvidia-persistenced.service; systemctl enable nvidia-persistenced.service",
    "dropin.devices": "systemctl set-property --runtime triton.service DevicePolicy=closed",
    "dropin.cuda_visible": _drop_in("/run/systemd/system", "hide", 'Environment="CUDA_VISIBLE_DEVICES="'),
    "dropin.preload": _drop_in("/run/systemd/system", "lib", "Environment=LD_PRELOAD=/tmp/x.so"),
    "dropin.limit": "systemctl set-property --runtime triton.service CPUQuota=5%",
    # Network and names.
    "qdisc.limit": "tc qdisc add dev host0 root tbf rate 1gbit burst 1mb latency 50ms",
    "link.ifb": "ip link add ifb7 type ifb && ip link set ifb7 up",
    "route.dead_end": "ip route add blackhole 10.9.9.9",
    "rule.dead_end": "ip rule add from 10.9.9.0/24 blackhole",
    "firewall.by_chance": "nft add table ip t; nft add chain ip t in '{ type filter hook input priority 0; }'; "
    "nft add rule ip t in ip saddr 10.9.9.9 numgen random mod 100 '<' 30 drop",
    "firewall.tool": "nft add table ip chaosd",
    "firewall.out_dropped": "nft add table ip u; nft add chain ip u out '{ type filter hook output priority 0; }'; "
    "nft add rule ip u out ip daddr 10.9.9.9 drop",
    "firewall.in_dropped": "nft add table ip v; nft add chain ip v in '{ type filter hook input priority 0; }'; "
    "nft add rule ip v in tcp dport 9999 drop",
    "hosts.tool": "echo '10.9.9.9 models.example.com #chaosblade' >> /etc/hosts",
    "hosts.dead_end": "echo '127.0.0.1 registry.example.com' >> /etc/hosts",
    "resolver.dead_end": "rm -f /etc/resolv.conf; echo 'nameserver 192.0.2.1' > /etc/resolv.conf",
    "login.refused": "echo drill > /etc/nologin",
    # Devices, disks, kernel.
    "device.covered": "mount --bind /dev/null /dev/nvidia0",
    "device.mode": "chmod 0600 /dev/nvidia1",
    "device.no_device": "touch /dev/nvidia5",
    "device.gap": "true",  # there is no nvidia2 to nvidia4 before it
    "device.more_than_driver": "true",  # and the driver shows two
    "disk.fill_file": "touch /var/tmp/chaos_filldisk.log.dat",
    "disk.stress_folder": "mkdir /tmp/tmp-stress-ng-4711",
    "mount.read_only": "mkdir -p /mnt/data; mount -t tmpfs none /mnt/data; mount -o remount,ro /mnt/data; "
    "echo 'none /mnt/data tmpfs defaults 0 0' >> /etc/fstab",
    "file.immutable": "mkdir -p /etc/docker; echo '{}' > /etc/docker/daemon.json; chattr +i /etc/docker/daemon.json",
    "clock.unkept": "printf '[Service]\\nExecStart=/bin/sleep 9\\n[Install]\\nWantedBy=multi-user.target\\n' "
    "> /etc/systemd/system/chrony.service; systemctl enable chrony.service",
    "package.half_installed": "printf '\\nPackage: nvidia-driver\\nStatus: install ok half-configured\\n' "
    ">> /var/lib/dpkg/status",
    "package.interrupted": "touch /var/lib/dpkg/updates/0001",
    "driver.blacklisted": "echo 'blacklist nvidia' > /etc/modprobe.d/off.conf",
    "sysctl.few_ports": "echo '61000 61010' > /proc/sys/net/ipv4/ip_local_port_range",
    "sysctl.no_ping": "echo 1 > /proc/sys/net/ipv4/icmp_echo_ignore_all",
}  # fmt: skip
# What excludes one of the first: on the other host, where all three units are there.
LATER: dict[str, str] = {
    "install.recover_disabled": "systemctl disable chaosgpu-recover.service",
    "install.agents_differ": "sed -i 's#^ExecStart=.*#ExecStart=/usr/bin/true tend#' "
    "/etc/systemd/system/chaosgpu-sweep.service",
    "install.masked": "systemctl stop chaosgpu-sweep.timer; rm /etc/systemd/system/chaosgpu-sweep.timer; "
    "ln -s /dev/null /etc/systemd/system/chaosgpu-sweep.timer; systemctl daemon-reload",
}
# A state that a fault leaves, and that the people of the host may also have meant.
UNKNOWN_OWNER = frozenset({
    "halt.latched", "process.dd_fill", "process.busy_shell", "tool.gremlin", "preload.system", "preload.cuda",
    "unit.masked", "unit.gpu_failed", "unit.driver_stopped", "firewall.out_dropped", "firewall.in_dropped",
    "hosts.dead_end", "login.refused", "device.mode", "device.more_than_driver", "mount.read_only", "file.immutable",
    "clock.unkept", "package.half_installed", "package.interrupted", "driver.blacklisted", "sysctl.few_ports",
    "sysctl.no_ping",
})  # fmt: skip
