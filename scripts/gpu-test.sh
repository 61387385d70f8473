#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# gpu-test.sh [FILE…]: the proof on a real card. It reads and takes memory and time of the first GPU; it sets nothing.
# PYTHON: an interpreter with the package and pytest (default .venv); where there is none, wheels in .whl make one.
# CHAOSGPU_KILLS_S: how long the many kills may take (default 178).
# OUT: where the results go (default dist/gpu). TORCH_PYTHON: an interpreter with torch, for a victim in torch (optional).
# Each file of tests has its own deadline, and one that fails does not keep the next from running.
set -u
cd "$(dirname "$0")/.." || exit 1
root=$PWD
out=${OUT:-$root/dist/gpu}
mkdir -p "$out"
rm -rf "$out/runs" "$out/figures.jsonl" "$out/host.json" "$out/recorded.jsonl"
log=$out/log.txt
: > "$log"

python=${PYTHON:-$root/.venv/bin/python}
if [ ! -x "$python" ]; then
    base=$(command -v python3)
    made=$(mktemp -d /tmp/chaosgpu-gpu-XXXXXX)
    trap 'rm -rf "$made"' EXIT
    { "$base" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target "$made/site" "$root"/.whl/*.whl \
        && "$base" -m venv --without-pip "$made/venv"; } >> "$log" 2>&1 || { cat "$log"; exit 1; }
    python=$made/venv/bin/python
    printf '%s\n%s\n' "$made/site" "$root" > "$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/chaosgpu.pth"
    if "$base" -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("torch") is None)'; then
        TORCH_PYTHON=${TORCH_PYTHON:-$base}
    fi
fi
export COLUMNS=150 CHAOSGPU_GPU_OUT=$out PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 PYTHONDONTWRITEBYTECODE=1
[ -n "${TORCH_PYTHON:-}" ] && export CHAOSGPU_TORCH_PYTHON=$TORCH_PYTHON

{
    date -u; uname -a; "$python" --version; command -v nvidia-smi
    echo "systemd: $(test -d /run/systemd/system && echo yes || echo no); PID 1: $(cat /proc/1/comm); cgroup: $(cat /proc/self/cgroup)"
    ls -l /dev/nvidia* 2>/dev/null
    cat /proc/driver/nvidia/version 2>/dev/null
    echo "LD_LIBRARY_PATH=${LD_LIBRARY_PATH:-}"
    ldconfig -p 2>/dev/null | grep -E 'libcuda\.so|libnvidia-ml'
    time nvidia-smi
    time nvidia-smi -q -d MEMORY,PERFORMANCE,PAGE_RETIREMENT
} >> "$log" 2>&1

# The first import of torch reads gigabytes: once, before anybody waits for it.
[ -n "${TORCH_PYTHON:-}" ] && timeout 90 "$TORCH_PYTHON" -c 'import torch; print("torch", torch.__version__)' >> "$log" 2>&1

policy=/etc/chaosgpu/policy.json
[ -e "$policy" ] && policy=

status=0
run() { # run SECONDS FILE
    echo "== $2 ($(date -u +%T))" | tee -a "$log"
    timeout -k 10 "$1" "$python" -m pytest -p pytest_timeout -p no:cacheprovider -q --no-header --tb=short -o timeout=60 --durations=0 \
        --durations-min=1 "tests/gpu/$2" 2>&1 | tee -a "$log"
    [ "${PIPESTATUS[0]}" = 0 ] || status=1
}

if [ $# -gt 0 ]; then
    for file in "$@"; do run "$((${CHAOSGPU_KILLS_S:-178} + 80))" "$file"; done
else
    run 60 test_1_recorded.py
    run 75 test_3_fill.py
    run 75 test_4_chaos_run.py
    run 150 test_5_left.py
    run "$((${CHAOSGPU_KILLS_S:-178} + 80))" test_8_many_kills.py
    run 60 test_6_leak_and_burn.py
    run 45 test_7_process_stop.py
    run 120 test_2_readings.py
fi

# Whatever a test that was cut off has left, by the host's own means, and what the host kept of the leases.
[ -n "$policy" ] && [ -z "${CHAOSGPU_SIM_STATE:-}" ] && rm -f "$policy"
echo '{"protocol": 1, "all": true}' | timeout 30 "$python" -m chaosgpu.agent undo >> "$log" 2>&1
nvidia-smi --query-compute-apps=pid,used_memory --format=csv >> "$log" 2>&1
nvidia-smi --query-gpu=memory.used,memory.free --format=csv >> "$log" 2>&1
[ -d "$out/runs" ] && tar -czf "$out/runs.tar.gz" -C "$out" runs && rm -rf "$out/runs"
[ -z "${CHAOSGPU_SIM_STATE:-}" ] && [ -d /var/lib/chaosgpu ] && tar -czf "$out/leases.tar.gz" -C /var/lib chaosgpu
"$python" benchmarks/real_gpu.py "$out" 2>&1 | tee -a "$log"
exit $status
