# SPDX-License-Identifier: Apache-2.0
"""Driver, CUDA and library drift: what a fleet is made of, in what its hosts differ, and what that breaks."""
