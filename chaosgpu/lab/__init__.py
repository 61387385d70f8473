# SPDX-License-Identifier: Apache-2.0
"""A rack on one machine: a real Triton server, simulated (or real) GPUs, background traffic."""
