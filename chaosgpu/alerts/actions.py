# SPDX-License-Identifier: Apache-2.0
"""Silence an alert for the time of a drill, in a way that cannot be forgotten."""

from typing import Any

__all__ = ["end_silence", "silence_alert"]


def silence_alert(  # noqa: PLR0917 (an experiment names them all)
    name: str,
    duration_s: float,
    comment: str = "a planned drill",
    labels: dict[str, str] | None = None,
    url: str | None = None,
    timeout_s: float = 10,
    configuration: dict[str, Any] | None = None,
    secrets: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Silence an alert; Alertmanager itself ends it after duration_s, the end of the run sooner.

    {"name": "nobody is woken by this drill", "type": "action", "provider": {"type": "python",
     "module": "chaosgpu.alerts.actions", "func": "silence_alert",
     "arguments": {"name": "GatewaySlow", "duration_s": 300, "labels": {"rack": "r4"}}}}

    name: of the alert. duration_s: at most 14400. labels: more that it must have; name the drill's hosts here, or every
    host's alert is silenced. url: http(s)://HOST:PORT of Alertmanager, else configuration `chaosgpu_alertmanager`, else
    $CHAOSGPU_ALERTMANAGER; a bearer token is the secret `alertmanager_token`. timeout_s: seconds for each call.
    It is written to the ledger first and read back. Returns {"silence", "labels", "ends_at"}. Raises FaultUnverified
    where it is not in force, Refused, NotReached, BadArgument, NoGuard without the guard control.
    """
    from chaosgpu.alerts import work  # noqa: PLC0415 (validation imports every named module)

    asked = work.Asked(url, labels, None, timeout_s, configuration, secrets)
    return work.silenced(name, duration_s, comment, asked)


def end_silence(name: str) -> dict[str, Any]:
    """End this run's silences on an alert before the run ends. Again is harmless.

    {"name": "alerts are heard again", "type": "action", "provider": {"type": "python",
     "module": "chaosgpu.alerts.actions", "func": "end_silence", "arguments": {"name": "GatewaySlow"}}}

    name: as given to `silence_alert`. Returns {"alert", "silences"}. Raises NotRestored, BadArgument, NotReached.
    """
    from chaosgpu.alerts import work  # noqa: PLC0415

    return work.unsilenced(name)
