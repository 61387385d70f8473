# SPDX-License-Identifier: Apache-2.0
"""The plan of a lifecycle: what it takes, what it refuses and in which words, and how its record reads back."""

from typing import Any

import pytest

from chaosgpu.errors import BadArgument
from chaosgpu.lifecycle.plan import KEY, STEPS, Plan, planned, recorded_plan, timeout_of

PACKAGES = {"nvidia-open": "580.95.05-1"}


def _plan(**given: Any) -> Plan:
    found = planned({KEY: given})
    assert found is not None
    return found


def test_a_plan_takes_what_it_is_given_and_texts_of_a_survey_as_what_they_say() -> None:
    found = _plan(
        packages=PACKAGES, within_s="5400", max_unavailable="2", allow_reboot="true", hosts="rack1",
        drain={"units": ["triton.service"], "slurm": {}, "hook": ["/usr/local/bin/drain"], "within_s": 300},
        timeouts_s={"pin": "7200"},
    )  # fmt: skip
    assert (found.within_s, found.max_unavailable, found.allow_reboot, found.steps) == (5400, 2, True, STEPS)
    assert timeout_of("pin", found.timeouts_s) == 7200
    assert timeout_of("drain", found.timeouts_s) == 900
    assert _plan().steps == ("drain",)
    assert planned({}) is None


def test_a_recorded_plan_reads_back_as_it_was() -> None:
    for plan in (_plan(packages=PACKAGES, steps=["snapshot", "pin"]), _plan(lock="fleet.lock.yaml"), _plan()):
        assert recorded_plan({"plan": plan.as_json()}) == plan
    assert recorded_plan({}) == Plan()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("all", "chaosgpu_lifecycle must be an object with some of hosts, drain"),
        ({"drian": {}}, r"has no key 'drian'; did you mean 'drain'\? Nothing was touched"),
        ({"colour": 1}, "has no key 'colour'; it has: hosts, drain"),
        ({"drain": {"unit": []}}, "drain has no key 'unit'; did you mean 'units'"),
        ({"drain": {"units": "triton.service"}}, "drain.units must be a list of texts"),
        ({"drain": {"slurm": True}}, "drain.slurm must be an object"),
        ({"packages": {"nvidia-open": "580*"}}, "packages must give 'nvidia-open' one whole version"),
        ({"packages": {}}, "packages must name a version for each package"),
        ({"packages": PACKAGES, "lock": "a.yaml"}, "has packages and a lock file: give one"),
        (
            {"packages": PACKAGES, "steps": ["pin", "drain"]},
            "each step once and in the order drain, snapshot, pin, verify",
        ),
        ({"packages": PACKAGES, "steps": ["pin"]}, "steps has pin without snapshot: there would be no way back"),
        ({"packages": PACKAGES, "steps": ["drain"]}, "has packages or a lock file, and no step pin"),
        ({"steps": ["verify"]}, "has verify, and no packages or lock file that they are about"),
        ({"steps": []}, "steps must be a list with some of drain"),
        ({"steps": ["return"]}, "steps must be a list with some of drain"),
        ({"within_s": "soon"}, "within_s must be a whole number, not 'soon'"),
        ({"within_s": 5}, "within_s must be at least 60"),
        ({"max_unavailable": 0}, "max_unavailable must be at least 1"),
        ({"allow_reboot": "maybe"}, "allow_reboot must be true or false"),
        ({"timeouts_s": {"boot": 1}}, "timeouts_s has no key 'boot'"),
        ({"timeouts_s": {"pin": -1}}, "timeouts_s.pin must be over 0"),
        ({"hosts": " "}, "hosts must be an Ansible pattern, not ' '; an empty selection is none"),
        ({"lock": ""}, "lock must name a lock file"),
    ],
)
def test_what_is_wrong_in_a_plan_is_said_in_one_sentence(given: object, sentence: str) -> None:
    with pytest.raises(BadArgument, match=sentence):
        planned({KEY: given})
