# SPDX-License-Identifier: Apache-2.0
"""Real Podman and Docker on a test host: engines, monitors, daemon; containers of one program of the host's Debian.

A test host is a container itself, so four things that it may not do are left out by the runtime: keyrings, limits,
rules for devices, and limits of memory.
"""

from bench.hosts import Host
from bench.waiting import wait_until

__all__ = ["ENGINES", "PACKAGES", "on", "remove_all", "run", "running"]

ENGINES = ("podman", "docker")
PACKAGES = ("podman", "docker.io", "crun")
_FILES = {
    "/usr/local/bin/nested": """\
#!/usr/bin/python3
import json, os, sys
words = sys.argv[1:]
if "--bundle" in words:
    path = words[words.index("--bundle") + 1] + "/config.json"
    spec = json.load(open(path))
    spec["process"].pop("rlimits", None)
    spec["linux"].pop("resources", None)
    json.dump(spec, open(path, "w"))
if "create" in words:
    words.insert(words.index("create") + 1, "--no-new-keyring")
if "update" not in words:
    os.execv("/usr/bin/crun", ["crun", *words])
""",
    "/etc/containers/containers.conf": """\
[containers]
keyring = false
[engine]
runtime = "nested"
[engine.runtimes]
nested = ["/usr/local/bin/nested"]
""",
    "/etc/containers/storage.conf": """\
[storage]
driver = "vfs"
runroot = "/run/containers/storage"
graphroot = "/var/lib/containers/storage"
""",
    "/etc/docker/daemon.json": """\
{"storage-driver": "vfs", "iptables": false, "ip6tables": false, "bridge": "none", "default-runtime": "nested",
 "runtimes": {"nested": {"path": "/usr/local/bin/nested"}}}
""",
}
_IMAGE = """
set -e
systemctl disable --quiet --now podman.socket podman-auto-update.timer podman-auto-update.service podman.service
systemctl disable --quiet podman-restart.service
systemctl reset-failed
systemctl restart docker
rm -rf /var/lib/containers /run/containers
folder=$(mktemp -d)
for file in /bin/sleep /lib/x86_64-linux-gnu/libc.so.6 /lib64/ld-linux-x86-64.so.2; do
    mkdir -p "$folder$(dirname $file)"; cp -L $file "$folder$file"
done
for engine in podman docker; do tar -C "$folder" -c . | $engine import - sleeper; done
rm -r "$folder"
"""


def on(host: Host) -> None:
    """Lay out the configuration of both, start Docker's daemon, and make the image."""
    for path, text in _FILES.items():
        host.run(["sh", "-c", f"mkdir -p $(dirname {path}); cat > {path}; chmod 755 {path}"], text, check=True)
    host.run(["sh", "-c", _IMAGE], timeout_s=120, check=True)


def run(host: Host, engine: str, name: str, *options: str) -> None:
    """Start a container that sleeps; as its first process it would not hear SIGTERM."""
    words = [engine, "run", "--detach", "--network=none", "--stop-signal=SIGKILL", f"--name={name}", *options]
    host.run([*words, "sleeper", "/bin/sleep", "1000"], timeout_s=60, check=True)


def running(host: Host, engine: str) -> list[str]:
    """Return the names of those that run."""
    return sorted(host.run([engine, "ps", "--format={{.Names}}"], timeout_s=60, check=True).stdout.split())


def remove_all(host: Host) -> None:
    """Remove every container of both, once Docker's daemon is there."""
    wait_until(lambda: host.run(["docker", "info"], timeout_s=60).returncode == 0, 60.0)
    for engine in ENGINES:
        names = host.run([engine, "ps", "--all", "--quiet"], timeout_s=60, check=True).stdout.split()
        if names:
            host.run([engine, "rm", "--force", *names], timeout_s=60, check=True)
