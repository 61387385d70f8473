# SPDX-License-Identifier: Apache-2.0
"""ECC, remapped rows, retired pages, recovery action."""
