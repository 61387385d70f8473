# SPDX-License-Identifier: Apache-2.0
"""One file a database; `connect` finds the one that an experiment names."""
