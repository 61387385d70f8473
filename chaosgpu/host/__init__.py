# SPDX-License-Identifier: Apache-2.0
"""The host itself: its units."""
