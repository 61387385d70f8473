# SPDX-License-Identifier: Apache-2.0
"""The same work on RHEL, Rocky and their like: dnf is asked and fetches, rpm changes, versionlock keeps."""
