# SPDX-License-Identifier: Apache-2.0
"""Triton Inference Server: truth probes, load and unload, configuration overrides with an undo that works."""
