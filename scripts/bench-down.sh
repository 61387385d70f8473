#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# bench-down.sh: ends the test hosts, and whatever an interrupted run of them has left.
set -eu
cd "$(dirname "$0")/.."
PYTHONPATH=tests exec .venv/bin/python -m bench.cli down
