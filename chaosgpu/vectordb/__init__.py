# SPDX-License-Identifier: Apache-2.0
"""Vector databases: a known set of vectors of our own in each, and whether they come back right."""
