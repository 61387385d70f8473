#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# bench-up.sh [COUNT]: boots test hosts (8 without a number) that stay until bench-down.sh.
set -eu
cd "$(dirname "$0")/.."
PYTHONPATH=tests exec .venv/bin/python -m bench.cli up "$@"
