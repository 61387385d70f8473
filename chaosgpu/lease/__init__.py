# SPDX-License-Identifier: Apache-2.0
"""The one way in which a fault reaches a host: run, ledger, lease, verdict."""
