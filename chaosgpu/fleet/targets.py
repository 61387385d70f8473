# SPDX-License-Identifier: Apache-2.0
"""Which hosts an experiment may name."""

from chaosgpu.errors import BadArgument

__all__ = ["LOCAL", "known_hosts", "one_host"]

LOCAL = "localhost"
_LOCAL_NAMES = frozenset({LOCAL, "local"})


def known_hosts() -> tuple[str, ...]:
    """Return every host that may hold a lease of ours."""
    return (LOCAL,)


def one_host(hosts: object) -> str:
    """Return the one host that `hosts` names; an empty or a foreign selection is refused, never widened."""
    if not isinstance(hosts, str) or not hosts.strip():
        raise BadArgument(f"hosts must name a host, not {hosts!r}; an empty selection never means all hosts.")
    if hosts.strip() not in _LOCAL_NAMES:
        raise BadArgument(
            f"hosts={hosts!r} cannot be reached: only 'localhost' can, the fleet transport is not there yet. "
            "Run the experiment on the GPU host itself."
        )
    return LOCAL
