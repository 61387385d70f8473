# SPDX-License-Identifier: Apache-2.0
"""An apply that comes to its end while somebody looks is not taken for one that died."""

import pytest

from chaosgpu.agent.folder import LeaseFolder
from support.agent_host import AgentHost


def test_a_lease_that_becomes_active_between_two_looks_is_not_abandoned(
    host: AgentHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.apply()
    host.kill(host.keepers()[0])  # it would look, too
    folder, active = host.lease_folder(), host.state()
    folder.save(type(active)(**{**vars(active), "state": "armed"}))

    def ends_meanwhile(self: LeaseFolder) -> bool:
        self.save(active)
        return False

    monkeypatch.setattr(LeaseFolder, "being_applied", ends_meanwhile)
    host.ask("sweep")
    assert host.state().state == "active"


def test_a_lease_whose_apply_died_is_abandoned(host: AgentHost) -> None:
    """The control: looking twice does not keep a dead apply's lease."""
    host.apply()
    host.kill(host.keepers()[0])
    folder, active = host.lease_folder(), host.state()
    folder.save(type(active)(**{**vars(active), "state": "armed"}))
    [line] = host.ask("sweep")["leases"]
    assert (line["state"], line["ended_by"]) == ("clean", "abandoned")
