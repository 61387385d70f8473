# SPDX-License-Identifier: Apache-2.0
"""Stop conditions of a run, watched here: one file a condition, joined with | and &."""
