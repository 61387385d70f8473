# SPDX-License-Identifier: Apache-2.0
"""What ends a lease when nobody else does: one file a backend, chosen by looking at the host."""
