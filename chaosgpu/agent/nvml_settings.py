# SPDX-License-Identifier: Apache-2.0
"""The settings side of NVML: what faults read, change and put back; runs in the driver child."""
