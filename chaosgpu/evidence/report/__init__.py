# SPDX-License-Identifier: Apache-2.0
"""The report for people: one HTML file without scripts or links to elsewhere, made of a bundle and of nothing else."""
