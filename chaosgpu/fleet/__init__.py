# SPDX-License-Identifier: Apache-2.0
"""Which hosts, and how to reach them."""
