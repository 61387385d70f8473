# SPDX-License-Identifier: Apache-2.0
"""Driver packages, dpkg's and rpm's: read, planned, staged, changed, and put back exactly without a network."""
