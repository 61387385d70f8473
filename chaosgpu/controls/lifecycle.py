# SPDX-License-Identifier: Apache-2.0
"""The lifecycle: hosts are taken out of service, pinned and brought back around an experiment. It needs the guard.

{"name": "lifecycle", "provider": {"type": "python", "module": "chaosgpu.controls.lifecycle"}}

What is to happen stands in the configuration, as `chaosgpu_lifecycle` (docs/lifecycle.md). Before the method: drain,
snapshot, pin, verify. If one of them does not go well on a host, the method is not played. The way back is taken by the
guard at the end of the run, on any ending but a kill: that is left to the host and to `chaosgpu recover`.
"""

import logging
from collections.abc import Mapping

from chaoslib.exceptions import InterruptExecution
from chaoslib.types import Configuration, Secrets

from chaosgpu.controls import guard
from chaosgpu.controls.around import dry_of, plan_of
from chaosgpu.errors import ChaosGpuError
from chaosgpu.lease.directory import plain
from chaosgpu.lease.hosts import hosts_of_run
from chaosgpu.lease.run import current_run
from chaosgpu.lifecycle.around import Around, plan_around

__all__ = ["before_experiment_control"]

logger = logging.getLogger("chaostoolkit")


def before_experiment_control(
    context: Mapping[str, object],
    experiment: Mapping[str, object],
    configuration: Configuration | None = None,
    secrets: Secrets | None = None,
) -> None:
    """Take the way there; interrupt where the method must not be played. Until it is done the guard lets nothing in."""
    guard.before_experiment_control(context)  # what it refuses comes first, whichever of the two is named first
    try:
        run = current_run()
        plan = plan_of(configuration or {}, secrets or {})
        if plan is None or any(isinstance(deed, Around) for deed in run.deeds):
            return
        dry = experiment.get("dry")
        if dry_of(None if dry is None else str(plain(dry))):
            logger.info("A dry run takes no host out of service: %s", ", ".join(hosts_of_run(run)))
            return
        why = plan_around(run, plan, hosts_of_run(run), configuration).begin()
    except ChaosGpuError as error:
        raise InterruptExecution(f"The hosts were not brought to where the method begins: {error}") from error
    if why is not None:
        raise InterruptExecution(why)
