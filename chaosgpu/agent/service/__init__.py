# SPDX-License-Identifier: Apache-2.0
"""Taking this host out of service and putting it back: units, containers, a Slurm node, a site's own hook."""
