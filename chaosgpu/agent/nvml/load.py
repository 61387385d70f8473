# SPDX-License-Identifier: Apache-2.0
"""Memory, utilisation, temperature, clocks and power."""
