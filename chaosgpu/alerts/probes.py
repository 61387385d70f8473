# SPDX-License-Identifier: Apache-2.0
"""Was anyone told, and how soon? Each alert as the experiment expects it: it fires, it does not, it is silenced."""

from typing import Any

__all__ = ["alert", "alert_fired", "alerts", "alerts_as_expected"]


def alert_fired(  # noqa: PLR0917 (an experiment names them all)
    name: str,
    within_s: float,
    labels: dict[str, str] | None = None,
    receiver: str | None = None,
    url: str | None = None,
    timeout_s: float = 5,
    configuration: dict[str, Any] | None = None,
    secrets: dict[str, Any] | None = None,
) -> bool:
    """Wait until an alert fires and somebody is told of it; false where that has not happened in time.

    {"name": "somebody was paged", "type": "probe", "tolerance": true, "provider": {"type": "python",
     "module": "chaosgpu.alerts.probes", "func": "alert_fired",
     "arguments": {"name": "GatewayErrors", "within_s": 60, "receiver": "on-call"}}}

    name: of the alert. within_s: seconds from the beginning of the run's fault (docs/traffic.md, phases), else from
    now. labels: more that it must have. receiver: of Alertmanager's routing, that it must go to. url, timeout_s: as in
    `silence_alert`.
    An alert that fired before the fault says nothing about it and raises ReadingUnknown; a silenced or inhibited one is
    false. Raises NotReached, Refused, BadArgument.
    """
    from chaosgpu.alerts import work  # noqa: PLC0415 (validation imports every named module)

    return work.fired(name, within_s, work.Asked(url, labels, receiver, timeout_s, configuration, secrets))


def alert(  # noqa: PLR0917
    name: str,
    within_s: float,
    labels: dict[str, str] | None = None,
    receiver: str | None = None,
    url: str | None = None,
    timeout_s: float = 5,
    configuration: dict[str, Any] | None = None,
    secrets: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Wait as `alert_fired` and return what is known of the alert.

    {"name": "how soon somebody was paged", "type": "probe", "provider": {"type": "python",
     "module": "chaosgpu.alerts.probes", "func": "alert", "arguments": {"name": "GatewayErrors", "within_s": 60}}}

    Returns {"fired", "told", "after_s", "receivers", "silenced_by", "inhibited_by"}; `after_s` counts from the fault
    to when Prometheus let it fire. Arguments and errors as in `alert_fired`.
    """
    from chaosgpu.alerts import work  # noqa: PLC0415

    asked = work.Asked(url, labels, receiver, timeout_s, configuration, secrets)
    return work.one(name, within_s, asked).to_json()


def alerts_as_expected(  # noqa: PLR0917
    expected: dict[str, str],
    within_s: float,
    labels: dict[str, str] | None = None,
    receiver: str | None = None,
    url: str | None = None,
    timeout_s: float = 5,
    configuration: dict[str, Any] | None = None,
    secrets: dict[str, Any] | None = None,
) -> bool:
    """Say of several alerts whether each did what is expected of it; what did not is logged.

    {"name": "the right people were told", "type": "probe", "tolerance": true, "provider": {"type": "python",
     "module": "chaosgpu.alerts.probes", "func": "alerts_as_expected",
     "arguments": {"within_s": 60, "expected": {"GatewayErrors": "fires", "GatewaySlow": "silenced",
                                                "TritonQueue": "does not fire"}}}}

    expected: for each alert `fires` (somebody is told), `does not fire`, or `silenced` (it fires and nobody is told).
    With a `does not fire` it waits all of within_s. The rest as in `alert_fired`.
    """
    from chaosgpu.alerts import work  # noqa: PLC0415

    asked = work.Asked(url, labels, receiver, timeout_s, configuration, secrets)
    return work.as_expected(expected, within_s, asked)


def alerts(  # noqa: PLR0917
    expected: dict[str, str],
    within_s: float,
    labels: dict[str, str] | None = None,
    receiver: str | None = None,
    url: str | None = None,
    timeout_s: float = 5,
    configuration: dict[str, Any] | None = None,
    secrets: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Watch as `alerts_as_expected` and return what became of each alert.

    {"name": "which alerts there were", "type": "probe", "provider": {"type": "python",
     "module": "chaosgpu.alerts.probes", "func": "alerts",
     "arguments": {"within_s": 60, "expected": {"GatewayErrors": "fires"}}}}

    Returns {"as_expected", "alerts": {NAME: {"expected", "as_expected", "fired", "told", "after_s", …}}}.
    """
    from chaosgpu.alerts import work  # noqa: PLC0415

    asked = work.Asked(url, labels, receiver, timeout_s, configuration, secrets)
    return work.expectations(expected, within_s, asked)
