# SPDX-License-Identifier: Apache-2.0
"""What dnf's own library says, run by the Python that dnf runs with: one JSON object in, one out.

{"plan": ["nvidia-open-3:580.95.05-1.el9", …]}   what a transaction would do: rows of name, architecture, before,
    after, and whether that is a downgrade
{"fetch": [[name, version, [architecture, …]], …], "folder": …}   have these package files there

It imports nothing of ours, and no syntax newer than Python 3.6: so old is that Python on RHEL 8.
"""

import importlib
import json
import os
import shutil
import sys
from typing import Any, Dict, List, Tuple


def _base() -> Any:
    dnf = importlib.import_module("dnf")
    base = dnf.Base()
    base.conf.read()
    base.conf.install_weak_deps = False
    base.conf.substitutions.update_from_etc(base.conf.installroot)
    release = importlib.import_module("dnf.rpm").detect_releasever(base.conf.installroot)
    if release:
        base.conf.releasever = release
    base.init_plugins(["versionlock"])
    base.pre_configure_plugins()
    base.read_all_repos()
    base.configure_plugins()
    for repo in base.repos.iter_enabled():
        repo.metadata_expire = -1  # the lists that the host has decide; only what it has not is fetched
    base.fill_sack(load_system_repo=True)
    return base


def _plan(base: Any, specs: List[str]) -> Dict[str, object]:
    forward = importlib.import_module("dnf.transaction").FORWARD_ACTIONS
    for spec in specs:
        base.install(spec)
    base.resolve(allow_erasing=True)
    rows: Dict[Tuple[str, str], List[Any]] = {}
    for item in base.transaction:
        row = rows.setdefault((item.name, item.arch), [item.name, item.arch, None, None, False])
        row[3 if item.action in forward else 2] = item.pkg.evr
    for row in rows.values():
        row[4] = None not in row and base.sack.evr_cmp(row[3], row[2]) < 0
    return {"changes": [rows[key] for key in sorted(rows)]}


def _fetch(base: Any, wanted: List[List[Any]], folder: str) -> Dict[str, object]:
    missing, unsigned, due = [], [], []
    for name, version, architectures in wanted:
        epoch, _, rest = version.rpartition(":")
        number, _, release = rest.rpartition("-")
        known = base.sack.query().available()
        there = known.filter(name=name, arch=architectures, epoch=int(epoch or 0), version=number, release=release)
        if there:
            due.append(there[0])
        else:
            missing.append(f"{name} {version}")
    base.download_packages(due)
    for package in due:
        status, why = base.package_signature_check(package)
        if status != 0:
            unsigned.append(f"{package}: {why or 'its key is not imported'}")
        place = os.path.join(folder, os.path.basename(package.location))  # noqa: PTH118, PTH119 (see above)
        shutil.copyfile(package.localPkg(), place)
    return {"missing": missing, "unsigned": unsigned}


def main() -> None:
    """Answer one question."""
    request = json.load(sys.stdin)
    wrong = importlib.import_module("dnf.exceptions").Error
    try:
        base = _base()
        if "plan" in request:
            answer = _plan(base, request["plan"])
        else:
            answer = _fetch(base, request["fetch"], request["folder"])
    except (wrong, OSError) as error:
        answer = {"error": " ".join(str(error).split())}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
