# SPDX-License-Identifier: Apache-2.0
"""The reading side of NVML, one family a file; runs in the driver's child."""
