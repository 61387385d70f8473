# SPDX-License-Identifier: Apache-2.0
"""Ways to a host that a site has: a bastion, become with a vault, a call that is cut; and what refuses them."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.hosts import Bench, Host
from bench.inventory import write_inventory
from bench.leases import apply, broken
from bench.plan import ROOT
from bench.waiting import wait_until
from chaosgpu.errors import ChaosGpuError, NotReached, Refused
from chaosgpu.fleet.ask import use_inventory
from chaosgpu.fleet.everywhere import ask_everywhere
from chaosgpu.fleet.inventory import named_inventory
from chaosgpu.fleet.values import JsonObject

pytestmark = pytest.mark.timeout(900)

_ANSIBLE_VAULT = Path(sys.executable).with_name("ansible-vault")
_HANGS = "/opt/hangs/agent.pyz"
_WITHIN_S = 6


@pytest.fixture(autouse=True)
def inventory() -> Iterator[None]:
    yield
    use_inventory(None)


def _ask(fleet: Bench, inventory: Path, verb: str = "list", **given: object) -> dict[str, JsonObject | ChaosGpuError]:
    use_inventory(named_inventory({"chaosgpu_inventory": str(inventory), **given}))
    with fleet.inside():
        return ask_everywhere([host.name for host in fleet.hosts], verb, {}, 60)


# A bastion: the host takes logins from there alone.
_ONLY_FROM = """\
table inet bastion {{
  chain input {{
    type filter hook input priority 0;
    ip saddr != {address} tcp dport 22 tcp flags & (syn|ack) == syn reject with tcp reset
  }}
}}
"""


def test_a_host_behind_a_bastion_is_reached_through_it_and_not_without(
    fleet: Bench, host: Host, other: Host, tmp_path: Path
) -> None:
    host.run(["nft", "-f", "-"], _ONLY_FROM.format(address=other.address), check=True)
    try:
        straight = _ask(fleet, write_inventory(fleet.plan, tmp_path))
        assert isinstance(straight[host.name], NotReached), straight
        assert not isinstance(straight[other.name], ChaosGpuError), straight
        path = write_inventory(fleet.plan, tmp_path)
        (tmp_path / "host_vars").mkdir()
        ways = f"-F {fleet.plan.path('ssh_config')} -o ProxyJump={other.name}"
        (tmp_path / f"host_vars/{host.name}.yml").write_text(f"ansible_ssh_common_args: {ways}\n")
        found = _ask(fleet, path)
        assert not any(isinstance(one, ChaosGpuError) for one in found.values()), found
    finally:
        host.run(["nft", "delete", "table", "inet", "bastion"], check=True)


_ADMIN = "useradd -m boss && echo boss:right-word | chpasswd && cp -r ~ops/.ssh ~boss/ && chown -R boss: ~boss"
_SUDOER = "Defaults env_keep += CHAOSGPU_SIM_STATE\nboss ALL=(ALL) ALL\n"


@pytest.fixture
def boss(fleet: Bench) -> Iterator[None]:
    """Give the hosts a login that sudo lets do everything, with its password."""
    for one in fleet.hosts:
        one.run(["sh", "-c", _ADMIN], check=True)
        one.run(["sh", "-c", "cat >/etc/sudoers.d/boss && chmod 440 /etc/sudoers.d/boss"], _SUDOER, check=True)
    yield
    for one in fleet.hosts:
        one.run(["sh", "-c", "rm /etc/sudoers.d/boss; pkill -KILL -u boss; userdel -rf boss"])


def _vaulted(folder: Path, word: str) -> str:
    """Encrypt a word with the password `opens`, which lies in the file `vault`."""
    (folder / "vault").write_text("opens\n")
    told = [str(_ANSIBLE_VAULT), "encrypt_string", "--vault-password-file", str(folder / "vault"), "--stdin-name", "x"]
    done = subprocess.run(told, input=word, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.partition("x:")[2]


@pytest.mark.parametrize(
    ("word", "opens", "sentence"),
    [
        ("right-word", "opens", None),
        (
            "wrong-word",
            "opens",
            r"{host} could not become root for 'list': .*Incorrect sudo password.*Nothing was touched",
        ),
        ("right-word", "another", r"read its variables for {host}, so nothing was sent for 'list': .*vault"),
    ],
    ids=["both right", "wrong become password", "wrong vault password"],
)
@pytest.mark.usefixtures("boss")
def test_become_takes_its_password_from_a_vault_and_a_wrong_one_is_told_for_each_host(  # noqa: PLR0917 (one row a case)
    fleet: Bench,
    host: Host,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    word: str,
    opens: str,
    sentence: str | None,
) -> None:
    path = write_inventory(fleet.plan, tmp_path, user="boss", ansible_become=True)
    with (tmp_path / "group_vars/all.yml").open("a") as file:
        file.write(f"ansible_become_password:{_vaulted(tmp_path, word)}")
    (tmp_path / "vault").write_text(f"{opens}\n")
    monkeypatch.setenv("ANSIBLE_VAULT_PASSWORD_FILE", str(tmp_path / "vault"))
    apply(host, "stays", 600.0)
    found = _ask(fleet, path)
    for one in fleet.hosts:
        answer = found[one.name]
        if sentence is None:
            assert not isinstance(answer, ChaosGpuError), answer
        else:
            assert isinstance(answer, (Refused, NotReached)), answer
            assert re.search(sentence.format(host=one.name), str(answer)), answer
            assert word not in str(answer)
    assert broken(host)


def test_a_host_without_python_says_so_and_the_others_go_on(
    fleet: Bench, host: Host, other: Host, tmp_path: Path
) -> None:
    apply(other, "stays", 600.0)
    host.run(["mv", "/usr/bin/python3", "/usr/bin/python3.away"], check=True)
    try:
        found = _ask(fleet, write_inventory(fleet.plan, tmp_path))
    finally:
        host.run(["mv", "/usr/bin/python3.away", "/usr/bin/python3"], check=True)
    assert isinstance(found[host.name], Refused), found
    assert re.search(r"could not be started: .*It needs a Python of 3\.9 or later", str(found[host.name]))
    assert not isinstance(found[other.name], ChaosGpuError), found
    assert broken(other)


# What sudo has started no user may end, so sudo must. It ends the agent alone: what a real one starts goes with it.
_HANGING = {"root": "#!/bin/sh\nsleep 985.5 &\nsleep 985.5\n", "ops": "#!/bin/sh\nexec sleep 985.5\n"}
_CALL = """
import sys
from chaosgpu.fleet.ask import ask, use_inventory
from chaosgpu.fleet.inventory import named_inventory
use_inventory(named_inventory({"chaosgpu_inventory": sys.argv[1], "chaosgpu_agent_path": sys.argv[2]}))
ask(sys.argv[3], "list", {}, float(sys.argv[4]))
"""


@pytest.mark.parametrize("blow", ["controller killed", "network cut"])
@pytest.mark.parametrize("user", ["root", "ops"])
def test_a_call_that_nobody_waits_for_any_more_ends_on_the_host_with_all_that_it_started(
    fleet: Bench, host: Host, tmp_path: Path, user: str, blow: str
) -> None:
    path = write_inventory(fleet.plan, tmp_path, user=user)
    host.run(["sh", "-c", f"mkdir -p /opt/hangs && cat >{_HANGS} && chmod 755 {_HANGS}"], _HANGING[user], check=True)
    line = f"ops ALL=(root) TIMEOUT={_WITHIN_S}s NOPASSWD: {_HANGS}\n"
    host.run(["sh", "-c", "cat >/etc/sudoers.d/hangs && chmod 440 /etc/sudoers.d/hangs"], line, check=True)
    words = [sys.executable, "-c", _CALL, str(path), _HANGS, host.name, str(_WITHIN_S)]
    with fleet.inside():
        controller = subprocess.Popen(words, cwd=ROOT, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        wait_until(
            lambda: len(_hanging(host)) >= len(_HANGING[user].splitlines()) - 1 or controller.poll() is not None, 180
        )
        if blow == "controller killed":
            os.kill(controller.pid, signal.SIGKILL)
        else:
            host.cut_network()
        assert _hanging(host)  # it does not end with the connection
        wait_until(lambda: _hanging(host) == [], _WITHIN_S + 20)
    finally:
        controller.kill()
        controller.wait()
        host.restore_network()
        host.run(["rm", "-rf", "/opt/hangs", "/etc/sudoers.d/hangs"])


def _hanging(host: Host) -> list[int]:
    """List the processes of the agent that hangs, seen from outside."""
    found = []
    for pid in host.pids():
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if b"985.5" in line:
            found.append(pid)
    return found
