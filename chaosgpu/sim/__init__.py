# SPDX-License-Identifier: Apache-2.0
"""Simulated GPUs behind the real library names, for labs and tests."""
