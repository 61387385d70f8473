# SPDX-License-Identifier: Apache-2.0
"""What an experiment may read of drift: driver, CUDA and libraries of a host. docs/drift.md has values and rules.

Every probe raises BadArgument (a wrong value, a lock file that cannot be used), ReadingUnknown (what is asked cannot be
known on this host, with the reason: neither right nor wrong), AgentFailed or Unreachable (no answer in `timeout_s`).
`hosts` is where.
"""

from chaosgpu.fleet.values import JsonObject

__all__ = [
    "cuda_support",
    "drift_free",
    "drift_report",
    "driver_supports_cuda",
    "library_loaded_once",
    "loaded_libraries",
    "versions_match",
]


def drift_free(lock: str, hosts: str = "localhost", timeout_s: float = 60.0) -> bool:
    """Tell whether the host is what the lock file (a path on the controller) says, and goes together by itself.

    {"type": "python", "module": "chaosgpu.cuda.probes", "func": "drift_free",
     "arguments": {"lock": "inventory/example/fleet.lock.yaml"}}
    False names each difference in the log. A locked value that cannot be read raises ReadingUnknown, unless there is a
    difference anyway.
    """
    from chaosgpu.cuda import asked  # noqa: PLC0415 (validation imports every named module)

    return asked.is_drift_free(lock, hosts, timeout_s)


def drift_report(lock: str, hosts: str = "localhost", timeout_s: float = 60.0) -> JsonObject:
    """Return {"differences", "findings", "unread"} against the lock file, for a tolerance that permits some of it.

    {"type": "python", "module": "chaosgpu.cuda.probes", "func": "drift_report",
     "arguments": {"lock": "inventory/example/fleet.lock.yaml"}}
    A difference is {"host", "key", "due", "found", "breaks"}, a finding {"rule", "level", "what", "keys", "source"},
    what is unread {"key", "why"}.
    """
    from chaosgpu.cuda import asked  # noqa: PLC0415 (validation imports every named module)

    return asked.report(lock, hosts, timeout_s)


def versions_match(hosts: str = "localhost", timeout_s: float = 10.0) -> bool:
    """Tell whether kernel module, user-space library and package of the driver are one version, each read apart.

    {"type": "python", "module": "chaosgpu.cuda.probes", "func": "versions_match", "arguments": {}}
    Unlike the probe of that name in chaosgpu.gpu.probes it needs no NVML, and sees a package that was upgraded under a
    module that still runs. A driver that came without packages is judged by module and library alone.
    """
    from chaosgpu.cuda import asked  # noqa: PLC0415 (validation imports every named module)

    return asked.versions_match(hosts, timeout_s)


def driver_supports_cuda(cuda: str, least: str = "minor", hosts: str = "localhost", timeout_s: float = 10.0) -> bool:
    """Tell whether the driver that runs can run this CUDA version.

    {"type": "python", "module": "chaosgpu.cuda.probes", "func": "driver_supports_cuda",
     "arguments": {"cuda": "12.9.1"}}
    `least` is how well: full, minor (with limits, no newer PTX) or forward (by the forward-compatibility package, on
    data-centre GPUs). Raises ReadingUnknown for a CUDA that the compatibility data does not know.
    """
    from chaosgpu.cuda import asked  # noqa: PLC0415 (validation imports every named module)

    return asked.supports(cuda, least, hosts, timeout_s)


def cuda_support(cuda: str, hosts: str = "localhost", timeout_s: float = 10.0) -> JsonObject:
    """Return {"support", "driver", "why"}; support is full, minor, forward, none or unknown.

    {"type": "python", "module": "chaosgpu.cuda.probes", "func": "cuda_support", "arguments": {"cuda": "13.0.2"}}
    """
    from chaosgpu.cuda import asked  # noqa: PLC0415 (validation imports every named module)

    return asked.support(cuda, hosts, timeout_s)


def library_loaded_once(unit: str, library: str, hosts: str = "localhost", timeout_s: float = 10.0) -> bool:
    """Tell whether all processes of a service have loaded this library from one and the same file.

    {"type": "python", "module": "chaosgpu.cuda.probes", "func": "library_loaded_once",
     "arguments": {"unit": "triton.service", "library": "libcusparse"}}
    Two files of one library mean that the search path decides which one a call reaches. A service that has not loaded
    it at all is unknown: it may not have answered yet. `library` is the file's name up to .so, `unit` may be pid:N.
    """
    from chaosgpu.cuda import asked  # noqa: PLC0415 (validation imports every named module)

    return asked.loaded_once(unit, library, hosts, timeout_s)


def loaded_libraries(unit: str, hosts: str = "localhost", timeout_s: float = 10.0) -> JsonObject:
    """Return the CUDA libraries that a service has loaded, by family: a list of {"path", "version", "deleted"} each.

    {"type": "python", "module": "chaosgpu.cuda.probes", "func": "loaded_libraries",
     "arguments": {"unit": "triton.service"}}
    """
    from chaosgpu.cuda import asked  # noqa: PLC0415 (validation imports every named module)

    return asked.loaded(unit, hosts, timeout_s)
