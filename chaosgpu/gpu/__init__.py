# SPDX-License-Identifier: Apache-2.0
"""GPUs: what an experiment may do to them and read from them, through the agent."""
