# SPDX-License-Identifier: Apache-2.0
"""The catalogue: the experiments that come with chaosgpu, what each declares of itself, and where they lie."""
