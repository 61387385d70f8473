# SPDX-License-Identifier: Apache-2.0
"""Chaos Toolkit extension for GPU racks without Kubernetes: break one named thing, prove it, put it back."""

__all__ = ["__version__", "discover"]
__version__ = "0.1.0"

_ACTIVITY_MODULES = (
    ("chaosgpu.alerts.actions", "actions"),
    ("chaosgpu.alerts.probes", "probes"),
    ("chaosgpu.cuda.actions", "actions"),
    ("chaosgpu.cuda.probes", "probes"),
    ("chaosgpu.cuda.tolerances", "probes"),
    ("chaosgpu.fleet.actions", "actions"),
    ("chaosgpu.gpu.actions", "actions"),
    ("chaosgpu.gpu.probes", "probes"),
    ("chaosgpu.host.actions", "actions"),
    ("chaosgpu.host.probes", "probes"),
    ("chaosgpu.lease.actions", "actions"),
    ("chaosgpu.lease.probes", "probes"),
    ("chaosgpu.metrics.actions", "actions"),
    ("chaosgpu.metrics.probes", "probes"),
    ("chaosgpu.traffic.actions", "actions"),
    ("chaosgpu.traffic.probes", "probes"),
    ("chaosgpu.triton.actions", "actions"),
    ("chaosgpu.triton.probes", "probes"),
    ("chaosgpu.vectordb.actions", "actions"),
    ("chaosgpu.vectordb.probes", "probes"),
)


def discover(discover_system: bool = True) -> object:  # noqa: ARG001 (the name is Chaos Toolkit's)
    """Tell `chaos discover chaostoolkit-gpu` which actions and probes an experiment may name."""
    from chaoslib.discovery.discover import (  # noqa: PLC0415 (agents import this package without Chaos Toolkit)
        discover_actions,
        discover_probes,
        initialize_discovery_result,
    )

    find = {"actions": discover_actions, "probes": discover_probes}
    discovery = initialize_discovery_result("chaostoolkit-gpu", __version__, "gpu")
    for module, kind in _ACTIVITY_MODULES:
        discovery["activities"].extend(find[kind](module))
    return discovery
