# SPDX-License-Identifier: Apache-2.0
"""Approvals as a host judges them: what was signed, by whom, and whether that permits what is asked for."""
