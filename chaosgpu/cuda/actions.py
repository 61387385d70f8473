# SPDX-License-Identifier: Apache-2.0
"""What an experiment may do to make drift: other libraries in one service, an upgrade that nobody watches.

docs/drift.md says what is modelled; docs/faults.md has what each changes, refuses and how well it is undone.

Every action puts one fault in, sees it verified on the host, and returns {"host", "lease", "fault", "observed",
"expires_in_s"}. It is undone by the rollback chaosgpu.lease.actions.undo_all, by chaosgpu.lease.actions.undo with its
lease, and else by the host itself 10 s after `duration_s`.

`unit` is the whole name of a service; an alias will do. `duration_s`: how long, in seconds. `loads_within_s`: 1 to 600,
how long the restarted service may take to load the library. `back_within_s`: how long it may take to be up again at
the undo, 1 to 600. `hosts`: where, "localhost". `timeout_s`: how long the host may take to put it in and verify it.
All need root.

Every action raises BadArgument (a value is wrong; nothing was touched), Refused (the host's policy, a claim, or what
the unit or the packages are said no; nothing was changed), NoGuard (the guard control is not active), FaultUnverified
(it was put in and not seen, and undone at once), AgentFailed or Unreachable.
"""

from chaosgpu.cuda.arguments import files as library_files
from chaosgpu.cuda.arguments import flag, library_file, library_name, names, number, put_in, unit_name
from chaosgpu.fleet.values import JsonObject

__all__ = ["mismatch_library", "shadow_library", "upgrade_unattended"]


def mismatch_library(  # noqa: PLR0917 (experiments name their arguments)
    unit: str,
    duration_s: float,
    files: list[str],
    loads_within_s: float = 30,
    back_within_s: float = 30,
    hosts: str = "localhost",
    timeout_s: float = 120.0,
) -> JsonObject:
    """Restart a service on the driver library of another version than the kernel module's; nobody else gets it.

    {"name": "the driver's library was upgraded", "type": "action", "provider": {"type": "python",
     "module": "chaosgpu.cuda.actions", "func": "mismatch_library", "arguments": {"unit": "triton.service",
     "duration_s": 120, "files": ["/opt/driver-575.57.08/libcuda.so.575.57.08"]}}}

    files: libcuda, libnvidia-ml or both, of another driver version, as paths on the host; each is mounted over the one
    that the service has loaded, for this service alone. The service then has what a process gets after an upgrade
    without a reboot: "Driver/library version mismatch" (NVML 18) and CUDA error 803; it may not come up at all.
    `observed` has what a process is told. Refused where it is told nothing wrong.
    """
    params: JsonObject = {"unit": unit_name(unit), "files": library_files(files)}
    params["loads_within_s"] = number("loads_within_s", loads_within_s, least=1, most=600)
    params["back_within_s"] = number("back_within_s", back_within_s, least=1, most=600)
    return put_in("library.mismatch", params, duration_s, hosts, timeout_s)


def shadow_library(  # noqa: PLR0917 (experiments name their arguments)
    unit: str,
    duration_s: float,
    file: str,
    as_name: str | None = None,
    loads_within_s: float = 30,
    back_within_s: float = 30,
    hosts: str = "localhost",
    timeout_s: float = 120.0,
) -> JsonObject:
    """Restart a service with another file of a CUDA library first in its search path, and see it loaded.

    {"name": "a second libcusparse", "type": "action", "provider": {"type": "python",
     "module": "chaosgpu.cuda.actions", "func": "shadow_library", "arguments": {"unit": "triton.service",
     "duration_s": 120, "file": "/opt/cuda-11.8/lib64/libcusparse.so.11.7.5.86", "as_name": "libcusparse.so.12"}}}

    file: its path on the host. as_name: the name that programs ask for; by default that of the file which the service
    has loaded, with the first number of its version. Who asks by name gets it, who asks by path does not: `observed`
    has all files of that library which the service then has loaded, and whether it is one (`loaded_once`).
    """
    params: JsonObject = {"unit": unit_name(unit), "file": library_file("file", file)}
    if as_name is not None:
        params["as_name"] = library_name("as_name", as_name)
    params["loads_within_s"] = number("loads_within_s", loads_within_s, least=1, most=600)
    params["back_within_s"] = number("back_within_s", back_within_s, least=1, most=600)
    return put_in("library.shadow", params, duration_s, hosts, timeout_s)


def upgrade_unattended(  # noqa: PLR0917 (experiments name their arguments)
    packages: list[str],
    duration_s: float,
    must_change: bool = True,
    back_within_s: float = 900,
    hosts: str = "localhost",
    timeout_s: float = 1800.0,
) -> JsonObject:
    """Upgrade packages as an unattended upgrade would in the middle of a run: under the host's own pins and holds.

    {"name": "the nightly upgrade comes", "type": "action", "provider": {"type": "python",
     "module": "chaosgpu.cuda.actions", "func": "upgrade_unattended",
     "arguments": {"packages": ["nvidia-open", "nvidia-fabricmanager"], "duration_s": 600}}}

    packages: their names; the versions are what apt on that host would take. must_change: refused where guards stop all
    of it; false where the guards are what is tried: then nothing moves, and `observed` has each package under
    `kept_back` with what keeps it and the version that apt would take otherwise. back_within_s: 10 to 7200, how long
    each way may take. The package files of both sides are kept on the host first, so that it goes back without a
    network.
    """
    params: JsonObject = {"packages": names(packages), "must_change": flag("must_change", must_change)}
    params["back_within_s"] = number("back_within_s", back_within_s, least=10, most=7200)
    return put_in("package.unattended", params, duration_s, hosts, timeout_s)
