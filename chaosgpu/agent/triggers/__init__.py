# SPDX-License-Identifier: Apache-2.0
"""The drill of a host's own triggers: each alone undoes a harmless lease. On a host: `agent.pyz self-drill`."""
