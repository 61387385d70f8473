#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# demo.sh fragile|hardened: the lab up, one experiment of the catalogue against it, the lab down.
# Ends well if the verdict is the one that the catalogue expects: `deviated` for fragile, `passed` for hardened.
set -u
variant=$1
case $variant in
    fragile) expected=deviated ;;
    hardened) expected=passed ;;
    *) echo "demo.sh: fragile or hardened, not '$variant'" >&2; exit 2 ;;
esac

PATH="$PWD/.venv/bin:$PATH"
export PATH
experiment=experiments/level-1/gpu-memory-leak-$variant.yaml
chaosgpu lab run --variant "$variant" -- \
    chaos --no-version-check --log-file .chaosgpu/chaostoolkit.log run --journal-path .chaosgpu/journal.json "$experiment"
verdict=$(chaosgpu runs show latest --field verdict) || verdict=none
echo
if [ "$verdict" = "$expected" ]; then
    echo "The $variant service: $verdict, which is what the catalogue expects. The record: .chaosgpu/runs/latest/"
    exit 0
fi
echo "The $variant service: $verdict, but the catalogue expects $expected. Look at: chaosgpu runs show latest" >&2
exit 1
