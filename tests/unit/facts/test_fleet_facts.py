# SPDX-License-Identifier: Apache-2.0
"""The whole reading: one call, every section, every reason; on a tree of files, on simulated GPUs, on Python 3.9."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest

from chaosgpu.agent.clock import SystemClock
from chaosgpu.agent.driver import ForkedDriver
from chaosgpu.agent.errors import BadRequest
from chaosgpu.agent.facts.document import SECTIONS
from chaosgpu.agent.readings.catalogue import Tools, take
from chaosgpu.agent.zipapp import build
from chaosgpu.cuda.facts import Facts, LookAt, take_facts
from chaosgpu.cuda.flat import flat
from chaosgpu.cuda.lock import Locked, flat_lock
from chaosgpu.cuda.unflat import nested
from chaosgpu.fleet.ask import use_transport
from chaosgpu.sim.instance import Instance
from support.host_tree import write
from unit.readings.conftest import MakeAgent, MakeGpus, make_agent, make_gpus

__all__ = ["make_agent", "make_gpus"]  # fixtures


@pytest.fixture
def rack(
    make_gpus: MakeGpus, make_agent: MakeAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Instance]:
    """Make simulated GPUs behind an agent that keeps packages in the test's own folder."""
    monkeypatch.setenv("CHAOSGPU_AGENT_HOME", str(tmp_path / "home"))
    instance = make_gpus("h100")
    with use_transport(make_agent(instance)):
        yield instance


def _taken(look_at: LookAt) -> Facts:
    found = take_facts(["localhost"], look_at, 30)["localhost"]
    assert isinstance(found, Facts), found
    return found


@pytest.mark.usefixtures("rack")
def test_one_call_gives_every_section() -> None:
    facts = _taken(LookAt())
    assert set(facts.values) == set(SECTIONS)
    assert len(facts.section("gpus")) == 2
    assert facts.text("kernel", "release") == os.uname().release
    assert flat(facts).values["gpus.product"] == "NVIDIA H100 80GB HBM3"


@pytest.mark.usefixtures("rack")
def test_all_that_a_host_tells_can_be_locked() -> None:
    values = dict(flat(_taken(LookAt(environments={"own": sys.prefix}))).values)
    assert values["gpus.count"] == 2
    assert flat_lock(Locked.model_validate(nested(values))) == values


def test_a_gpu_that_is_set_another_way_shows_with_its_count(rack: Instance) -> None:
    rack.set(1, persistence_mode=0)
    assert flat(_taken(LookAt(sections=["gpus"]))).values["gpus.persistence"] == ("off x1", "on x1")


@pytest.mark.usefixtures("rack")
def test_only_the_sections_that_are_named_are_read() -> None:
    assert set(_taken(LookAt(sections=["driver", "cuda"])).values) == {"driver", "cuda"}


def test_an_image_of_a_host_is_read_by_its_root(tmp_path: Path) -> None:
    root = tmp_path / "image"
    write(
        root,
        {
            "/etc/os-release": 'ID=ubuntu\nVERSION_ID="24.04"\n',
            "/var/lib/dpkg/status": "Package: libnccl2\nStatus: hold ok installed\nArchitecture: all\n"
            "Version: 2.25.1-1\n",
            "/etc/apt/x": "",
        },
    )
    tools = Tools(ForkedDriver({}), SystemClock())
    sections = ["kernel", "packages", "apt", "units", "containers"]
    answer = take("fleet.facts", {"root": str(root), "sections": [*sections]}, tools)
    wanted = {"manager": "dpkg", "installed": {"libnccl2": "2.25.1-1"}, "holds": ["libnccl2"], "broken": {}}
    assert answer.values["packages"] == wanted
    assert answer.values["kernel"] == {"distribution": "ubuntu 24.04"}
    assert answer.unknown["kernel.release"] == "/proc/sys/kernel/osrelease is not there"
    assert "systemd is not this host's PID 1" in str(answer.unknown["units.dcgm"])


@pytest.mark.parametrize(
    ("params", "why"),
    [
        ({"sections": ["gpu"]}, "There is no section gpu; there are: kernel, driver"),
        ({"root": "srv"}, "root must be an absolute path"),
        ({"services": "triton.service"}, "services must be a list"),
        ({"services": [""]}, "not empty"),
        ({"engines": ["models"]}, "engines must be an absolute path"),
        ({"environments": {"a": "venv"}}, r"environments\.a must be an absolute path"),
        ({"services": ["x"] * 65}, "at most 64"),
        ({"unit": "x"}, "has no parameter unit"),
    ],
)
def test_a_wrong_request_is_refused(params: dict[str, object], why: str) -> None:
    tools = Tools(ForkedDriver({}), SystemClock())
    with pytest.raises(BadRequest, match=why):
        take("fleet.facts", params, tools)  # type: ignore[arg-type]  # a request is whatever somebody sends


def test_it_is_read_on_the_hosts_own_python_out_of_one_file(tmp_path: Path) -> None:
    agent = build(tmp_path / "agent.pyz")
    python = shutil.which("python3", path="/usr/bin:/bin:/usr/local/bin") or sys.executable
    child = subprocess.run(
        [python, "-I", "-S", str(agent), "read"],
        input=json.dumps({"protocol": 1, "reading": "fleet.facts", "params": {}}).encode(),
        capture_output=True,
        env={"PATH": os.environ["PATH"], "CHAOSGPU_AGENT_HOME": str(tmp_path / "home")},
        cwd="/",
        check=False,
        timeout=60,
    )
    answer = json.loads(child.stdout)
    assert set(answer["values"]) == set(SECTIONS)
    assert all(isinstance(why, str) and why for why in answer["unknown"].values())


def test_the_schema_of_the_request_names_every_section() -> None:
    text = (resources.files("chaosgpu.agent") / "schemas" / "read.json").read_text(encoding="utf-8")
    named = json.loads(text)["request"]["properties"]["params"]["properties"]["sections"]["items"]["enum"]
    assert named == list(SECTIONS)
