# SPDX-License-Identifier: Apache-2.0
"""Containers of a real Docker and a real Podman are taken out of service and back; hands of others are left alone."""

from collections.abc import Iterator
from typing import Any

import pytest

from bench import engines
from bench.engines import ENGINES, run, running
from bench.hosts import BENCHES, Bench, Host
from bench.packaged import packaged
from bench.plan import me
from bench.service import ask, forget, lines, refusal, struck
from bench.waiting import wait_until

BOXES = ("box", "spare")

pytestmark = pytest.mark.timeout(900)  # as in test_service.py


@pytest.fixture(scope="module")
def made(machine: None) -> Iterator[Host]:  # noqa: ARG001 (it says that the machine can)
    """Give a host of its own with both engines from Debian's packages."""
    layer = packaged("engines", engines.PACKAGES, lambda _: None)
    bench = Bench(BENCHES / f"engines-{me().pid}")
    bench.up(1, extra=(str(layer),))
    try:
        engines.on(bench.hosts[0])
        yield bench.hosts[0]
    finally:
        bench.down()


@pytest.fixture
def boxed(made: Host) -> Iterator[Host]:
    """Give that host without containers, and nothing of ours on it before or after."""
    yield made
    forget(made)
    engines.remove_all(made)


def _reboot(host: Host) -> None:
    host.reboot()
    wait_until(lambda: host.run(["docker", "info"], timeout_s=60).returncode == 0, 60.0)


@pytest.mark.parametrize("engine", ENGINES)
def test_they_are_stopped_by_name_stay_down_over_a_reboot_and_start_again_only_if_we_stopped_them(
    boxed: Host, engine: str
) -> None:
    for name in BOXES:
        run(boxed, engine, name)
    boxed.run([engine, "stop", "spare"], timeout_s=60, check=True)
    told = ask(boxed, "drain", containers=[*BOXES], check=True)
    answer = ask(boxed, "drain", containers=[*BOXES])
    assert [told[key] for key in ("before", "after")] == [answer[key] for key in ("before", "after")]
    assert running(boxed, engine) == []
    assert ask(boxed, "drain", containers=[*BOXES])["changed"] is False
    _reboot(boxed)
    assert running(boxed, engine) == []
    back = ask(boxed, "return")
    assert (back["state"], back["left_alone"], running(boxed, engine)) == ("in service", [], ["box"])


@pytest.mark.parametrize("policy", ["always", "unless-stopped", "on-failure:3"])
def test_a_container_that_docker_would_bring_back_stays_down_over_a_reboot_and_has_its_policy_again(
    boxed: Host, policy: str
) -> None:
    run(boxed, "docker", "box", f"--restart={policy}")
    boxed.run(["docker", "stop", "box"], timeout_s=60, check=True)
    boxed.run(["docker", "start", "box"], timeout_s=60, check=True)
    answer = ask(boxed, "drain", containers=["box"])
    assert lines(answer, "before")["container box"] == f"up, restarts {policy}"
    assert lines(answer)["container box"] == "down"
    _reboot(boxed)
    assert running(boxed, "docker") == []
    back = ask(boxed, "return")
    assert (back["left_alone"], lines(back)["container box"]) == ([], f"up, restarts {policy}")
    assert running(boxed, "docker") == ["box"]


def test_without_its_policy_taken_away_docker_brings_it_back_at_the_reboot(boxed: Host) -> None:
    """The control: what a stop alone is worth."""
    run(boxed, "docker", "box", "--restart=always")
    boxed.run(["docker", "stop", "box"], timeout_s=60, check=True)
    _reboot(boxed)
    wait_until(lambda: running(boxed, "docker") == ["box"], 60.0)


@pytest.mark.parametrize("engine", ENGINES)
def test_what_somebody_started_or_made_anew_is_left_alone_and_told(boxed: Host, engine: str) -> None:
    for name in BOXES:
        run(boxed, engine, name)
    ask(boxed, "drain", containers=[*BOXES])
    script = f"{engine} start box; {engine} stop box; {engine} rm spare"
    boxed.run(["sh", "-c", script], timeout_s=60, check=True)
    run(boxed, engine, "spare")
    back = ask(boxed, "return")
    assert back["left_alone"] == [
        "the container box was started by somebody meanwhile and is down again; it was left so",
        "the container spare was made anew by somebody meanwhile; it was left so",
    ]
    assert running(boxed, engine) == ["spare"]


def test_a_policy_that_somebody_gave_meanwhile_is_left_alone_and_told(boxed: Host) -> None:
    run(boxed, "docker", "box", "--restart=always")
    ask(boxed, "drain", containers=["box"])
    boxed.run(["docker", "update", "--restart=unless-stopped", "box"], timeout_s=60, check=True)
    back = ask(boxed, "return")
    assert back["left_alone"] == ["the container box restarts unless-stopped now and always before; left so"]
    assert lines(back)["container box"] == "up, restarts unless-stopped"


def test_one_that_could_not_be_started_again_or_kept_down_is_refused(boxed: Host) -> None:
    run(boxed, "podman", "box", "--rm")
    assert "is removed when it stops (--rm)" in refusal(ask(boxed, "drain", containers=["box"]))
    run(boxed, "podman", "spare", "--restart=always")
    boxed.run(["systemctl", "enable", "--quiet", "podman-restart.service"], check=True)
    try:
        said = refusal(ask(boxed, "drain", containers=["spare"]))
        assert "Podman starts the container spare at boot" in said
        both = ask(boxed, "drain", containers=["spare"], units=["podman-restart.service"])
        assert (both.get("state"), running(boxed, "podman")) == ("drained", ["box"]), both
        assert ask(boxed, "return")["left_alone"] == []
        assert running(boxed, "podman") == ["box", "spare"]
    finally:
        boxed.run(["systemctl", "disable", "--quiet", "podman-restart.service"], check=True)
    assert "There is no container nowhere" in refusal(ask(boxed, "drain", containers=["nowhere"]))


def test_an_engine_that_does_not_answer_matters_only_for_its_own_containers(boxed: Host) -> None:
    run(boxed, "podman", "box")
    boxed.run(["systemctl", "stop", "docker.socket", "docker"], timeout_s=60, check=True)
    try:
        assert "The container nowhere cannot be looked at" in refusal(ask(boxed, "drain", containers=["nowhere"]))
        assert ask(boxed, "drain", containers=["box"])["state"] == "drained"
        ask(boxed, "return")
        assert running(boxed, "podman") == ["box"]
    finally:
        boxed.run(["systemctl", "start", "docker"], timeout_s=60, check=True)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_drain_or_return_killed_at_each_step_ends_as_it_was(boxed: Host, engine: str) -> None:
    policy = ["--restart=always"] if engine == "docker" else []
    run(boxed, engine, "box", *policy)
    wanted: dict[str, Any] = {"containers": ["box"], "reason": "autumn drill"}
    struck_at = 0
    while (steps := struck(boxed, "drain", struck_at + 1, **wanted)) is not None:
        struck_at += 1
        back = ask(boxed, "return")
        assert back["left_alone"] == [], steps
        assert running(boxed, engine) == ["box"], steps
    assert struck_at >= 5
    for at in range(1, 7):
        ask(boxed, "drain", **wanted)
        struck(boxed, "return", at)
        assert ask(boxed, "return")["left_alone"] == [], at
        assert running(boxed, engine) == ["box"], at
    if engine == "docker":
        said = boxed.run(["docker", "inspect", "--format={{.HostConfig.RestartPolicy.Name}}", "box"], check=True)
        assert said.stdout.strip() == "always"
