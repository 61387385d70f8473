# SPDX-License-Identifier: Apache-2.0
"""What stands up later: the site's evidence log, the bundle of a run, its verification and its report."""
