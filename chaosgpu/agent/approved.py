# SPDX-License-Identifier: Apache-2.0
"""By what a lease goes: the change that it belongs to and, where the host's policy demands one, the approval."""

from chaosgpu.agent.host import Host
from chaosgpu.agent.order import Order
from chaosgpu.agent.policy import Policy
from chaosgpu.agent.syslog import names_of
from chaosgpu.agent.values import JsonObject

__all__ = ["approved"]


def approved(host: Host, policy: Policy, order: Order) -> JsonObject:
    """Return it for the lease's record; Forbidden where an approval is demanded and none permits this."""
    granted: JsonObject = {} if order.change_id is None else {"change_id": order.change_id}
    if policy.approvals is None:
        return granted
    from chaosgpu.agent.approvals.judge import Asked, judge  # noqa: PLC0415 (only where one is demanded)
    from chaosgpu.agent.approvals.signatures import key_of  # noqa: PLC0415 (as above)

    names = policy.approvals.names or tuple(dict.fromkeys((host.name, host.name.partition(".")[0])))
    asked = Asked(order.fault, order.max_duration_s, names, names_of(host.operator), host.clock.wall_s())
    return {**granted, **judge(policy.approvals, asked, order.approval, key_of)}
