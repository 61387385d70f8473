#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# install.sh EXTRA[,EXTRA]: system packages where it may, the virtual environment, the package with these extras.
# Does nothing where that is done already and pyproject.toml is the same.
set -eu
extras=$1
stamp=.venv/.installed-$(printf '%s' "$extras" | tr ',' '-')
wanted=$(cat pyproject.toml scripts/install.sh | sha256sum)

if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
    exit 0
fi

missing=
need() { # need COMMAND PACKAGE…: the package, where the command is not there
    command -v "$1" >/dev/null 2>&1 && return
    shift
    missing="$missing $*"
}

# The simulator is compiled on first use, and Triton's Python models need a Python 3.12 or 3.11 with its shared library.
need cc gcc libc6-dev
if [ -x /usr/bin/python3.11 ] && ! ls /usr/lib/*/libpython3.11.so.1.0 >/dev/null 2>&1; then
    missing="$missing libpython3.11 python3.11-venv"
fi
case ",$extras," in
    *,dev,*) # the crash tests, the systemd test hosts and the virtual machines
        need strace strace
        need systemd-nspawn systemd-container
        need debootstrap debootstrap
        need ip iproute2
        need ssh openssh-client
        need qemu-system-x86_64 qemu-system-x86
        need mkfs.ext4 e2fsprogs
        ;;
esac
if [ -n "$missing" ] && command -v apt-get >/dev/null 2>&1; then
    if [ "$(id -u)" = 0 ]; then
        echo "Installing system packages:$missing"
        # shellcheck disable=SC2086  # a list of package names
        { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing; } >/dev/null \
            || echo "apt-get could not install$missing; going on without." >&2
    else
        echo "Not root, so not installed:$missing. If the lab asks for them: sudo apt-get install$missing" >&2
    fi
fi

if [ ! -x .venv/bin/python ]; then
    python=$(scripts/find-python.sh)
    echo "Making .venv with $("$python" --version)"
    "$python" -m venv .venv
fi
echo "Installing chaostoolkit-gpu [$extras] into .venv"
.venv/bin/python -m pip install -q --disable-pip-version-check -e ".[$extras]"
printf '%s\n' "$wanted" > "$stamp"
