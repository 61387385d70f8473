# SPDX-License-Identifier: Apache-2.0
"""One file a transport: each carries one JSON document to the agent and one back."""
