# SPDX-License-Identifier: Apache-2.0
"""Whatever a lease leaves on a host says whose it is, so that a person who finds it knows whom to ask.

Units have the lease in their names; tests/bench looks at those.
"""

import json
import os
from pathlib import Path

from chaosgpu.agent.process import environment_of, tagged
from support.agent_host import LOCK, AgentHost


def names_lease(pid: int, folder: str) -> bool:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return folder.encode() in words or (environment_of(pid) or {}).get("CHAOSGPU_LEASE") == folder


def test_every_process_names_its_lease(host: AgentHost) -> None:
    host.apply(LOCK)
    found = tagged("CHAOSGPU_AGENT_HOME", str(host.home))
    assert len(found) == len(host.keepers()) + len(host.holders()) == 2
    assert all(names_lease(who.pid, f"{host.home}/leases/l1") for who in found)
    assert not names_lease(found[0].pid, f"{host.home}/leases/l2")


def test_every_claim_names_its_lease_its_home_and_what_it_holds(host: AgentHost) -> None:
    host.apply(LOCK)
    found = [json.loads(path.read_text()) for path in host.claims()]
    assert {claim["claim"] for claim in found} == {f"lock:{host.file}", f"alock:{host.file}"}
    assert {(claim["lease"], claim["home"]) for claim in found} == {("l1", str(host.home))}


def files(host: AgentHost) -> set[str]:
    return {os.path.join(folder, name) for folder, _, names in os.walk(host.folder) for name in names}  # noqa: PTH118 (as os.walk gives them)


def test_every_other_file_lies_in_the_folder_of_its_lease(host: AgentHost) -> None:
    before = files(host)
    host.apply(LOCK)
    made = files(host) - before - {str(path) for path in host.claims()}
    elsewhere = {path for path in made if not path.startswith(f"{host.home}/leases/l1/")}
    assert elsewhere == {f"{host.folder}/chaosgpu-claims.lock", f"{host.folder}/log"} & made
