# SPDX-License-Identifier: Apache-2.0
"""Conditions of this host that end a lease before its time: one file a condition, joined with any and all."""
