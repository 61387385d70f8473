# SPDX-License-Identifier: Apache-2.0
"""A site's own program: what it is told, what its no means, and which programs are never started."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from chaosgpu.agent.errors import AgentError, Forbidden, Refused, Unanswered, Unverified
from chaosgpu.agent.process import alive, identity
from chaosgpu.agent.service.hook import Hook
from chaosgpu.agent.service.record import Taken
from chaosgpu.agent.service.thing import Budget
from support.service_desk import ServiceHost

TELLS = """#!/bin/sh
echo "$1 $2 $(cat)" >> {log}
[ ! -e {log}.no-$2 ] || {{ echo "the balancer says no" >&2; exit 3; }}
"""
type Make = Callable[..., Hook]


@pytest.fixture
def log(host: ServiceHost) -> Path:
    """Give the file in which the hook notes what it was called with."""
    return host.agent.folder / "log"


@pytest.fixture
def make(host: ServiceHost, log: Path) -> Make:
    """Put a program where hooks may lie, and name it as one."""
    folder = host.agent.home / "hooks"
    folder.mkdir()

    def hook(text: str = "", mode: int = 0o755, name: str = "balancer") -> Hook:
        path = folder / name
        path.write_text(text or TELLS.format(log=log))
        path.chmod(mode)
        return Hook((str(path), "pool-1"), "d1", "autumn", host.desk())

    return hook


def _taken(stage: str = "taking") -> Taken:
    return Taken("hook", {}, stage)


def _budget(host: ServiceHost, within_s: float = 10.0) -> Budget:
    return Budget(host.desk().clock, within_s)


def test_it_is_called_with_each_word_and_told_which_drill_it_is(make: Make, host: ServiceHost, log: Path) -> None:
    hook = make()
    assert hook.prior() == {"hook": str(host.agent.home / "hooks" / "balancer")}
    hook.take(_taken(), _budget(host))
    hook.judge(_taken("taken"))
    hook.put_back(_taken("putting back"), _budget(host))
    calls = [line.split(" ", 2) for line in log.read_text().splitlines()]
    assert {pool for pool, _, _ in calls} == {"pool-1"}
    assert [word for _, word, _ in calls] == ["check", "drain", "check", "return"]
    told = [json.loads(text) for _, _, text in calls]
    assert [one["going"] for one in told] == ["drain", "drain", "return", "return"]
    assert {(one["drill"], one["reason"]) for one in told} == {("d1", "autumn")}


@pytest.mark.parametrize(("word", "kind"), [("check", Refused), ("drain", Unverified), ("return", Unverified)])
def test_its_no_is_told_with_its_own_words(
    make: Make, host: ServiceHost, log: Path, word: str, kind: type[AgentError]
) -> None:
    hook = make()
    Path(f"{log}.no-{word}").touch()
    calls: dict[str, Callable[[], object]] = {
        "check": hook.prior,
        "drain": lambda: hook.take(_taken(), _budget(host)),
        "return": lambda: hook.put_back(_taken(), _budget(host)),
    }
    with pytest.raises(kind, match=f"The hook said no to `{word}`: .* ended with 3: the balancer says no"):
        calls[word]()


def test_one_that_does_not_end_is_ended_with_all_that_it_started(make: Make, host: ServiceHost) -> None:
    child = host.agent.folder / "child"
    hook = make(f"#!/bin/sh\nsetsid sh -c 'echo $$ > {child}; exec sleep 61.5' &\nsleep 61.5\n")
    start = time.monotonic()
    with pytest.raises(Unanswered, match="was not done within 1 s and was ended, with all that it had started"):
        hook.take(_taken(), _budget(host, 1.0))
    assert time.monotonic() - start < 10
    who = identity(int(child.read_text()))
    assert who is None or not alive(who)


@pytest.mark.parametrize("mode", [0o775, 0o757])
def test_one_that_others_may_write_is_never_started(make: Make, host: ServiceHost, log: Path, mode: int) -> None:
    with pytest.raises(Forbidden, match="must be root's and writable for nobody else"):
        make(mode=mode).prior()
    (host.agent.home / "hooks" / "balancer").chmod(0o755)
    (host.agent.home / "hooks").chmod(0o777)
    with pytest.raises(Forbidden, match="hooks belongs to user"):
        Hook((str(host.agent.home / "hooks" / "balancer"),), "d1", "x", host.desk()).prior()
    assert not log.exists()


def test_only_what_the_hosts_owner_has_put_there_is_a_hook(make: Make, host: ServiceHost) -> None:
    make()
    folder = host.agent.home / "hooks"
    (folder / "link").symlink_to("/bin/sh")
    (folder / "plain").write_text("no program")
    for path, sentence in (
        ("/bin/sh", "is not in .*hooks"),
        (f"{folder}/../../elsewhere", "is not in .*hooks"),
        (f"{folder}/link", "is a link"),
        (f"{folder}/nowhere", "is not there"),
        (f"{folder}/plain", "is no program"),
    ):
        with pytest.raises(Refused, match=sentence):
            Hook((path, "-c", "reboot"), "d1", "x", host.desk()).prior()
