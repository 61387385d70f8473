# SPDX-License-Identifier: Apache-2.0
"""The CUDA driver through ctypes, for the processes that hold a resource: no toolkit, no wheel, only libcuda.so.1."""
