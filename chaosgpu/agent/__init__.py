# SPDX-License-Identifier: Apache-2.0
"""The program on the GPU host that holds leases. Standard library and pynvml only; runs on Python 3.9 and later."""
