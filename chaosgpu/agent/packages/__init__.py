# SPDX-License-Identifier: Apache-2.0
"""Driver packages of Debian and Ubuntu: read, planned, staged, changed, and put back exactly without a network."""
