#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# bench-test.sh: runs the tests on systemd hosts in two halves at once, each on hosts of its own: most of them wait.
set -u
cd "$(dirname "$0")/.."
said=$(mktemp -d)
trap 'rm -rf "$said"' EXIT
half() { # every second file; one that is ended takes its hosts with it
    # shellcheck disable=SC2046 (file names of ours)
    exec .venv/bin/pytest -q -p no:cacheprovider --basetemp="$said/$1" $(ls tests/bench/test_*.py | awk "NR % 2 == $1") \
        >"$said/half-$1" 2>&1
}
half 1 & one=$!
half 0 & two=$!
trap 'kill "$one" "$two" 2>/dev/null' INT TERM
wait "$one"; first=$?
wait "$two"; second=$?
cat "$said/half-1" "$said/half-0"
[ "$first" -eq 0 ] && [ "$second" -eq 0 ]
