# SPDX-License-Identifier: Apache-2.0
"""The gateway of the lab's pipeline: a program of its own in an environment of its own; nothing else imports it."""
