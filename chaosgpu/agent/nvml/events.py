# SPDX-License-Identifier: Apache-2.0
"""Xid events from NVML's event set."""
