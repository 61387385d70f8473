# SPDX-License-Identifier: Apache-2.0
"""What must be known to be true before anything is touched; what is not known is refused."""

from typing import Optional, Tuple

from chaosgpu.agent import halt
from chaosgpu.agent.approved import approved
from chaosgpu.agent.errors import Forbidden
from chaosgpu.agent.host import Host
from chaosgpu.agent.order import Order
from chaosgpu.agent.policy import Policy
from chaosgpu.agent.values import JsonObject

__all__ = ["allow", "allow_claims"]


def allow(host: Host, order: Order) -> Tuple[Policy, JsonObject]:
    """Refuse on a halted host, and what the host's policy does not permit; return the policy, and what permits it."""
    halt.refuse_if_latched(host)
    policy = host.read_policy()
    policy.allow(order.fault, order.max_duration_s)
    return policy, approved(host, policy, order)


def allow_claims(host: Host, policy: Policy, claims: Tuple[str, ...], library: Optional[JsonObject]) -> None:
    """Refuse protected GPUs and units, and under CHAOSGPU_AGENT_HOME every GPU that is not simulated."""
    policy.allow_claims(claims)
    gpus = [claim for claim in claims if claim.startswith("gpu:")]
    if host.home.limited and (gpus or library is not None) and not (library or {}).get("simulator"):
        raise Forbidden(
            f"Under CHAOSGPU_AGENT_HOME only simulated GPUs may be touched, and {', '.join(gpus) or 'the GPU'} is "
            "real. Unset the variable to work under the host's own policy, or start it with `chaosgpu sim run`."
        )
