# SPDX-License-Identifier: Apache-2.0
"""A real Slurm on a test host: its controller and its daemon, from Debian's packages, one node and one partition."""

from bench.hosts import Host
from bench.waiting import wait_until

__all__ = ["PACKAGES", "jobs", "node", "on", "reservations", "submit"]

PACKAGES = ("munge", "slurm-client", "slurmctld", "slurmd")
_CONFIG = """\
ClusterName=bench
SlurmctldHost={host}
SlurmUser=slurm
StateSaveLocation=/var/lib/slurm/slurmctld
SlurmdSpoolDir=/var/lib/slurm/slurmd
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
MpiDefault=none
# As many sites have it: a node that was rebooted without anybody knowing is not trusted.
ReturnToService=1
SlurmctldTimeout=30
SlurmdTimeout=60
NodeName={host} CPUs=2 State=UNKNOWN
PartitionName=gpu Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""
# This machine's hierarchy of control groups is a mixed one, which its daemon refuses to look for by itself.
_SETUP = """
set -e
cat > /etc/slurm/slurm.conf
echo CgroupPlugin=cgroup/v1 > /etc/slurm/cgroup.conf
mkdir -p /var/lib/slurm/slurmctld /var/lib/slurm/slurmd
chown -R slurm: /var/lib/slurm/slurmctld
systemctl restart munge slurmctld slurmd
"""


def on(host: Host) -> None:
    """Start it with this host as its one node, and wait until jobs could start there."""
    host.run(["sh", "-c", _SETUP], _CONFIG.format(host=host.name), timeout_s=120, check=True)
    wait_until(lambda: node(host)[0] == "IDLE", 120.0)


def node(host: Host) -> tuple[str, str]:
    """Return state and reason as scontrol shows them."""
    rows = host.run(["scontrol", "show", "node", host.name]).stdout.splitlines()
    found = dict(row.strip().partition("=")[::2] for row in rows)
    return (found.get("State", "").split() or ["unknown"])[0], found.get("Reason", "").partition(" [")[0]


def reservations(host: Host) -> list[str]:
    """Return the names of all."""
    said = host.run(["scontrol", "--oneliner", "show", "reservation"]).stdout
    return [word.partition("=")[2] for word in said.split() if word.startswith("ReservationName=")]


def jobs(host: Host) -> list[str]:
    """Return every job with its state."""
    return host.run(["squeue", "--noheader", "--format=%A %T"]).stdout.splitlines()


def submit(host: Host, seconds: int = 300) -> str:
    """Hand in a job and wait until it runs; return its id."""
    words = ["sbatch", "--parsable", "--output=/dev/null", f"--wrap=sleep {seconds}"]
    job = host.run(words, check=True).stdout.strip()
    wait_until(lambda: f"{job} RUNNING" in jobs(host), 60.0)
    return job
