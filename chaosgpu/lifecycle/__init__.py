# SPDX-License-Identifier: Apache-2.0
"""What happens to hosts around an experiment: taken out of service, pinned, brought back, returned or quarantined."""
