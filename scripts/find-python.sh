#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Prints the path of a Python 3.13 or 3.12 that can make virtual environments, or says in one sentence what to install.
set -eu

usable() {
    "$1" -c 'import sys, venv, ensurepip; sys.exit(not (3, 12) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1
}

for candidate in "${PYTHON:-}" python3.13 python3.12 python3 \
    "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.13*/bin/python "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.12*/bin/python; do
    if [ -n "$candidate" ] && usable "$candidate"; then
        "$candidate" -c 'import sys; print(sys.executable)'
        exit 0
    fi
done

# Last resort, where the network lets it: uv, a package of the ordinary Python index, knows where to get a Python.
if python3 -m venv .venv-bootstrap >/dev/null 2>&1 && .venv-bootstrap/bin/pip install -q 'uv>=0.8' >/dev/null 2>&1 \
    && timeout 180 .venv-bootstrap/bin/uv python install -q 3.13 >/dev/null 2>&1; then
    candidate=$(.venv-bootstrap/bin/uv python find 3.13)
    if usable "$candidate"; then
        echo "$candidate"
        exit 0
    fi
fi
echo "No Python 3.13 or 3.12 with venv was found: install one (pyenv install 3.13, or your distribution's package) or name it in PYTHON=/path/to/python." >&2
exit 1
