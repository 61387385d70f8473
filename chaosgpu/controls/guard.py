# SPDX-License-Identifier: Apache-2.0
"""The guard: without this control no fault is put in.

{"name": "guard", "provider": {"type": "python", "module": "chaosgpu.controls.guard"}}

It refuses an experiment without a rollback that undoes the run, forces the rollback strategy `always`, makes an
orderly stop of SIGTERM, SIGINT, SIGHUP and SIGQUIT, keeps the run directory with its ledger, stops a method whose
fault has ended, verifies every fault again before and after the hypothesis is judged, sweeps at the end, and sets the
verdict. Every hook may be called
more than once: Chaos Toolkit does so when controls are declared in several places.

{"name": "guard", "provider": {"type": "python", "module": "chaosgpu.controls.guard", "arguments":
 {"stop_when": "gpu_temperature_above(90) | (canary_wrong_for(5) & elapsed(10))"}}}

`stop_when` names conditions that stop the run (docs/stops.md).
"""

import logging
from collections.abc import Mapping, MutableMapping
from typing import Protocol

from chaoslib.exceptions import InterruptExecution
from chaoslib.types import Configuration, Secrets

from chaosgpu.controls.checks import resolved
from chaosgpu.controls.closing import close
from chaosgpu.controls.events import GuardEvents
from chaosgpu.controls.known_secrets import secret_values
from chaosgpu.controls.session import Session
from chaosgpu.controls.signals import Phase
from chaosgpu.fleet.redaction import know

__all__ = [
    "after_experiment_control",
    "before_activity_control",
    "before_experiment_control",
    "cleanup_control",
    "configure_control",
]

logger = logging.getLogger("chaostoolkit")


class _Registry(Protocol):
    """Chaos Toolkit's registry of event handlers."""

    def register(self, handler: GuardEvents) -> None:
        """Add one."""


class _Guarded:
    """The experiment of this process: Chaos Toolkit plays one at a time."""

    session: Session | None = None


def configure_control(
    experiment: Mapping[str, object],
    configuration: Configuration | None = None,
    secrets: Secrets | None = None,
    event_registry: _Registry | None = None,
    stop_when: object = None,
) -> None:
    """Take over the signals and listen to the run; the run itself is made when Chaos Toolkit says that it starts."""
    if event_registry is None or (_Guarded.session is not None and _Guarded.session.judgement is None):
        return
    know(secret_values(configuration, secrets))
    session = Session(experiment, configuration or {}, secrets or {}, stop_when)
    session.find_inventory()
    logger.addFilter(session.log_filter)
    session.signals.install()
    event_registry.register(GuardEvents(session))
    _Guarded.session = session


# Chaos Toolkit hands the control's arguments to each hook, and one that does not take them is not called at all.


def before_experiment_control(context: Mapping[str, object], stop_when: object = None) -> None:  # noqa: ARG001 (as above)
    """Refuse by interrupting: nothing has been played yet."""
    session = _Guarded.session
    if session is None or not session.ready:
        raise InterruptExecution("The guard could not be set up, so nothing is played. Run again with --verbose.")
    if session.signals.phase is not Phase.STARTING:
        return
    if session.refused is not None:
        raise InterruptExecution(f"Refused before anything was played. {session.refused}")
    session.signals.phase = Phase.PLAYING
    if session.signals.received:
        raise InterruptExecution(f"{session.signals.received[0]} was received before anything was played.")


def before_activity_control(
    context: Mapping[str, object],
    experiment: Mapping[str, object],
    stop_when: object = None,  # noqa: ARG001 (as above)
) -> None:
    """Stop the method once a fault that it counts on has ended: what follows would prove nothing."""
    session = _Guarded.session
    if session is None or not any(item is context for item in resolved(experiment, "method")):
        return
    reason = session.why_stop_here()
    if reason is not None:
        raise InterruptExecution(f"The method is stopped: {reason}")


def after_experiment_control(
    context: Mapping[str, object],  # noqa: ARG001 (as above)
    state: MutableMapping[str, object],
    stop_when: object = None,  # noqa: ARG001 (as above)
) -> None:
    """Sweep and set the verdict; not called when Chaos Toolkit breaks off."""
    if _Guarded.session is None:
        state["status"] = "failed"
        return
    close(_Guarded.session, state)


def cleanup_control() -> None:
    """Sweep and judge where that has not been done: this is called on every way out but a kill."""
    if _Guarded.session is not None:
        close(_Guarded.session, None)
