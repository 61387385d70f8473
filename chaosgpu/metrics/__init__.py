# SPDX-License-Identifier: Apache-2.0
"""Any Prometheus metrics page, asked directly: what changed since a moment of the experiment, retries, breakers."""
