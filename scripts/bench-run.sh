#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# bench-run.sh HOST COMMAND ...: runs a command on one of the test hosts, for example: bench-run.sh gpu1 nvidia-smi
set -eu
cd "$(dirname "$0")/.."
PYTHONPATH=tests exec .venv/bin/python -m bench.cli run "$@"
