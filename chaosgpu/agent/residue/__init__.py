# SPDX-License-Identifier: Apache-2.0
"""What faults leave behind, of ours and of others: one family of residue a file. It only looks."""
