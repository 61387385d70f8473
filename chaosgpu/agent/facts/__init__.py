# SPDX-License-Identifier: Apache-2.0
"""What a host is made of, one file a section; nothing is imported or run that is looked at."""
