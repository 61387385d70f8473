# SPDX-License-Identifier: Apache-2.0
"""Drills: a plan that people write and approve, its window and gate, the run of its experiments, its schedule."""
