# SPDX-License-Identifier: Apache-2.0
"""The crash test of the agent: struck at every call, on a developer's machine and on a user's own host."""
