# SPDX-License-Identifier: Apache-2.0
"""One file a fault, one line a fault in the registry."""
