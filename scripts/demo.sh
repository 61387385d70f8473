#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# demo.sh fragile|hardened: the lab up, one experiment of the catalogue against it, the lab down.
# Ends well if the verdict is the one that the catalogue expects: `deviated` for fragile, `passed` for hardened.
set -u
variant=$1
case $variant in
    fragile) expected=3 ;;  # deviated
    hardened) expected=0 ;;  # passed
    *) echo "demo.sh: fragile or hardened, not '$variant'" >&2; exit 2 ;;
esac

PATH="$PWD/.venv/bin:$PATH"
export PATH
experiment=experiments/level-1/gpu-memory-leak-$variant.yaml
chaosgpu lab run --variant "$variant" -- \
    chaos --no-version-check --log-file .chaosgpu/chaostoolkit.log run --journal-path .chaosgpu/journal.json "$experiment"
ended=$?
# 0 and 1 are the experiment's own; anything else means that it did not run, so there is no new record to show.
[ "$ended" -le 1 ] || exit "$ended"
echo
chaosgpu runs show latest
code=$?
echo
if [ "$code" = "$expected" ]; then
    echo "That is the verdict which the catalogue expects of the $variant service. The record: .chaosgpu/runs/latest/"
    exit 0
fi
echo "The catalogue expects exit code $expected of the $variant service, not $code (docs/verdicts.md has the table)." >&2
exit 1
