# SPDX-License-Identifier: Apache-2.0
"""The genuine NVIDIA driver, changed and put back with what DKMS had built: `python benchmarks/dkms.py`.

Three versions of one Debian release, on a test host, which needs root (docs/bench.md). No module is loaded: a container
shares this machine's kernel. It takes most of an hour and goes on where it stopped: each step is kept in
`figures/dkms/steps.jsonl`, and those of another agent do not count.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import package_engine
import safety_runs
from figures import Figure, at_least, at_most, exactly, not_measured, publish

sys.path[:0] = [str(safety_runs.ROOT), str(safety_runs.ROOT / "tests")]

from bench import dkms, packages  # noqa: E402 (in the tests' folder, wherever the tree lies)
from bench.dkms_layer import dkms_layer  # noqa: E402 (as above)
from bench.hosts import BENCHES, Bench, Host  # noqa: E402 (as above)
from bench.nvidia_layer import DRIVER, LIBRARY, nvidia_layer  # noqa: E402 (as above)
from bench.plan import me  # noqa: E402 (as above)

__all__ = ["figures"]

_FILE = Path("figures") / "dkms" / "steps.jsonl"
_LONGEST_S = 5400.0
_KEPT = "/var/lib/chaosgpu/packages/*/dkms/kept"
_COPY = f"set -e; cp -a {_KEPT} /var/tmp/copy; sync -f /var/tmp/copy; du -sm /var/tmp/copy | cut -f1"
_POLICY = 's/"max_duration_s": 600/"max_duration_s": 7200/'
_MODULES = 5  # nvidia, nvidia-modeset, nvidia-drm, nvidia-uvm, nvidia-peermem


def main() -> int:
    """Take the steps that are missing, or until the time is over; then write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=90.0, help="begin no new step after this long")
    asked = parser.parse_args()
    until_s = time.time() + 60 * asked.minutes
    _FILE.parent.mkdir(parents=True, exist_ok=True)
    layer = nvidia_layer(lambda line: print(line, flush=True))
    # "compiled" is the control: what was kept is taken away before the way back.
    wanted = [(version, "kept") for version in layer.others] + [(layer.others[-1], "compiled")]
    done = {(line["to"], line["way"]) for line in package_engine.lines(_FILE)}
    waiting = [step for step in wanted if step not in done]
    if waiting:
        bench = Bench(BENCHES / f"nvidia-{me().pid}")
        [host] = bench.up(1, extra=(str(layer.upper), str(dkms_layer(print))))
        try:
            host.run(["sed", "-i", _POLICY, "/etc/chaosgpu/policy.json"], check=True)
            host.run(["sh", "-c", f"{dkms.SMALL_IMAGE}; update-initramfs -u -k all"], timeout_s=_LONGEST_S, check=True)
            for version, way in waiting:
                if time.time() < until_s:
                    _take(host, layer.installed, layer.install_s, version, way)
        finally:
            bench.down()
    return publish("dkms", figures())


def _take(host: Host, installed: str, install_s: float, version: str, way: str) -> None:
    before, modules = dkms.seen(host), dkms.digests(host)
    images = dkms.image(host)
    start = time.monotonic()
    ordered = packages.order({DRIVER: version, LIBRARY: version}, _LONGEST_S, back_within_s=_LONGEST_S)
    answer = host.agent("apply", ordered, timeout_s=_LONGEST_S)
    forth_s = time.monotonic() - start
    if answer.get("state") != "active":
        raise SystemExit(f"{version} could not be installed: {answer}")
    changed = dkms.digests(host)
    start = time.monotonic()
    size_mib = int(host.run(["sh", "-c", _COPY], timeout_s=300, check=True).stdout)
    copy_s = time.monotonic() - start
    gone = (
        f"rm -rf /var/tmp/copy /srv/gone /var/lib/apt/lists /var/cache/apt/archives; mv {packages.REPOSITORY} /srv/gone"
    )
    host.run(["sh", "-c", gone + (f"; rm -rf {_KEPT}/*" if way == "compiled" else "")], timeout_s=60, check=True)
    start = time.monotonic()
    [line] = host.agent("undo", {"lease": ordered["lease"]}, timeout_s=_LONGEST_S)["leases"]
    back_s = time.monotonic() - start
    host.run(["sh", "-c", f"mv /srv/gone {packages.REPOSITORY}; apt-get -q update"], timeout_s=120, check=True)
    after, same = dkms.seen(host), dkms.digests(host) == modules
    step = {
        "agent": package_engine.digest(), "from": installed, "to": version, "way": way, "install_s": install_s,
        "forth_s": round(forth_s, 1), "copy_s": round(copy_s, 2), "kept_mib": size_mib, "back_s": round(back_s, 1),
        "state": line["state"], "reason": line["reason"], "modules": len(modules), "modules_same": same,
        "changed_between": changed != modules, "image_same": dkms.image(host) == images,
        "difference": sorted({*before.splitlines()} ^ {*after.splitlines()})[:10],
    }  # fmt: skip
    with _FILE.open("a", encoding="utf-8") as file:
        file.write(json.dumps(step) + "\n")
    print(step, flush=True)


def figures() -> list[Figure]:
    """Return what the steps so far have shown."""
    lines = package_engine.lines(_FILE)
    kept = [line for line in lines if line["way"] == "kept"]
    control = [line for line in lines if line["way"] == "compiled"]
    if not kept:
        return [not_measured("genuine NVIDIA packages: changes put back", "changes", ">= 2", "none on this agent")]
    bad = [line for line in kept if line["state"] != "clean" or line["difference"] or not line["image_same"]]
    versions = {kept[0]["from"], *(line["to"] for line in kept)}
    found = [
        at_least("genuine NVIDIA packages: versions", len(versions), "versions", 3),
        at_least("genuine NVIDIA packages: changes put back", len(kept), "changes", 2),
        exactly("genuine NVIDIA packages: changes that left a difference", len(bad), "changes", 0),
        exactly("modules that DKMS builds", kept[0]["modules"], "files", _MODULES),
        exactly("modules that are not the same to the byte", sum(not line["modules_same"] for line in kept), "", 0),
        Figure("installation, DKMS build included", kept[0]["install_s"], "s", "", None),
        Figure("the way there, DKMS build included, longest", max(line["forth_s"] for line in kept), "s", "", None),
        Figure("the way back, modules kept, longest", max(line["back_s"] for line in kept), "s", "", None),
        at_most("  of which the modules put in their place, longest", max(line["copy_s"] for line in kept), "s", 10),
        Figure("  size of what is kept", kept[0]["kept_mib"], "MiB", "", None),
    ]
    if not control:
        return [*found, not_measured("the way back, compiled (control)", "s", "", "not walked on this agent")]
    ratio = control[0]["back_s"] / max(line["back_s"] for line in kept)
    return [
        *found,
        Figure("the way back, compiled (control)", control[0]["back_s"], "s", "", None),
        at_least("compiled over kept (ratio)", ratio, "x", 1.5),
    ]


if __name__ == "__main__":
    sys.exit(main())
