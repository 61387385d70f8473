# SPDX-License-Identifier: Apache-2.0
"""A control of a user: one hook takes what the other does not."""


def configure_control(level: int = 1) -> None:
    del level


def before_experiment_control(context: object, level: int = 1, quiet: bool = False) -> None:
    del context, level, quiet
