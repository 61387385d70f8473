# SPDX-License-Identifier: Apache-2.0
"""Whether an experiment asks for a lifecycle of its hosts, and has the control that plays it."""

from collections.abc import Mapping

from chaoslib import substitute
from chaoslib.types import Configuration, Secrets

from chaosgpu.errors import ChaosGpuError
from chaosgpu.lease.hosts import hosts_of_run
from chaosgpu.lease.run import Run
from chaosgpu.lifecycle.plan import KEY, Plan, planned

__all__ = ["LIFECYCLE", "dry_of", "plan_of", "why_not_around"]

LIFECYCLE = "chaosgpu.controls.lifecycle"
# With these Chaos Toolkit plays no action, so there is nothing for which hosts would have to be taken out of service.
_PLAYS_NO_ACTION = frozenset({"activities", "actions"})
_HOW = f'{{"name": "lifecycle", "provider": {{"type": "python", "module": "{LIFECYCLE}"}}}}'


def plan_of(configuration: Configuration, secrets: Secrets) -> Plan | None:
    """Read the plan, with what it takes from other keys of the configuration; BadArgument where it is wrong."""
    if KEY not in configuration:
        return None
    return planned({KEY: substitute({KEY: configuration[KEY]}, configuration, secrets)[KEY]})


def why_not_around(
    experiment: Mapping[str, object], plan: Plan | None, run: Run, configuration: Mapping[str, object]
) -> str | None:
    """Find a plan without its control, which nobody would mention, and one that could not be played."""
    controls = experiment.get("controls")
    named = [one for one in controls if isinstance(one, Mapping)] if isinstance(controls, list) else []
    declared = [one for one in named if _module(one) == LIFECYCLE]
    if plan is not None and not declared:
        return f"The configuration has {KEY} and nothing would play it: add {_HOW} to the experiment's controls."
    if plan is None and declared:
        return f"The control {LIFECYCLE} has nothing to play: the configuration has no {KEY}. Take it out, or say what."
    halved = [key for one in declared for key in ("scope", "automatic") if one.get(key) not in (None, True)]
    if halved:
        return f"The lifecycle control must not have {halved[0]!r}: a half of it would not be played."
    if plan is None:
        return None
    hosts, limit = hosts_of_run(run), plan.max_unavailable
    if limit is not None and len(hosts) > limit:
        return (
            f"The lifecycle would take {len(hosts)} hosts out of service at once ({', '.join(hosts)}), and "
            f"max_unavailable is {limit}: choose fewer, or raise it. Nothing was touched."
        )
    from chaosgpu.lifecycle.around import plan_around  # noqa: PLC0415 (most runs have no use for it)

    try:
        plan_around(run, plan, hosts, configuration)
    except ChaosGpuError as error:
        return str(error)
    return None


def dry_of(dry: str | None) -> bool:
    """Tell whether a dry run plays no action."""
    return dry in _PLAYS_NO_ACTION


def _module(control: Mapping[str, object]) -> object:
    provider = control.get("provider")
    return provider.get("module") if isinstance(provider, Mapping) else None
