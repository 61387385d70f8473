# SPDX-License-Identifier: Apache-2.0
"""Was anyone told? Alerts as Alertmanager holds them, and silences that end by themselves."""
