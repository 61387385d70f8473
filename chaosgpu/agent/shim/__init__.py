# SPDX-License-Identifier: Apache-2.0
"""A library that is preloaded into one unit and makes its CUDA calls fail while a toggle is on."""
