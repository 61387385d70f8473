# SPDX-License-Identifier: Apache-2.0
"""What is made for a bench before its hosts start: folders, keys, file systems, network. The rack makes it.

Whoever makes it is in the bench's own group meanwhile, and so are `mount` and `ip` that it starts: if it is killed,
they are found and ended before anything is taken away.
"""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import files, groups, network, nspawn, ssh
from bench.plan import BenchPlan

__all__ = ["make"]


def make(plan: BenchPlan, stop: Callable[[], bool]) -> bool:
    """Make everything that the plan names; False if it was told to stop on the way."""
    Path(plan.directory).mkdir(parents=True)
    groups.make(f"{plan.identity}/controller")
    with _in_group(f"{plan.identity}/making"):
        return all(not stop() for _ in _steps(plan))


def _steps(plan: BenchPlan) -> Iterator[None]:
    """Make one thing after another; between two of them it may end."""
    yield
    for host in plan.hosts:
        Path(host.directory).mkdir(parents=True)
    ssh.make_keys(plan)
    ssh.write_config(plan)
    yield
    common = plan.path("common")
    files.write_common(nspawn.mount(plan.layers[1:], common), plan, print)
    subprocess.run(["umount", str(common / "root")], check=True, timeout=20)
    for number, host in enumerate(plan.hosts, start=1):
        yield
        nspawn.mount(plan.layers, Path(host.directory))
        files.write_host(host, number)
        host.path("power").write_text("on")
    network.make(plan)
    yield


@contextmanager
def _in_group(name: str) -> Iterator[None]:
    """Be in a group, with all that is started meanwhile, and afterwards where we were."""
    before = groups.mine()
    groups.make(name)
    groups.enter(name)()
    try:
        yield
    finally:
        (before / "cgroup.procs").write_text(str(os.getpid()))
