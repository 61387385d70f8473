# SPDX-License-Identifier: Apache-2.0
"""PCIe, NVLink and fabric."""
