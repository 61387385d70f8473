# SPDX-License-Identifier: Apache-2.0
"""Open-loop load with checked answers, and what users get of a service: by phase, as an SLO, by who was alerted."""
