# SPDX-License-Identifier: Apache-2.0
"""The faults that make drift, on real systemd hosts: one unit gets another library, nobody else, and all goes back."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bench import drift_units, packages
from bench.cuda_units import beside, codes, serving, sh, unit
from bench.files import AGENT
from bench.hosts import Bench, Host
from bench.inventory import write_inventory
from bench.leases import state
from bench.waiting import wait_until
from chaosgpu.cuda import probes
from chaosgpu.fleet.ask import use_inventory
from chaosgpu.fleet.inventory import named_inventory
from crash.unit_victims import OTHER_DRIVER, OTHER_TOOLKIT, TOOLKIT

pytestmark = pytest.mark.timeout(900)

_MISMATCH, _SHADOW = "library.mismatch", "library.shadow"
_OWN_DRIVER = "/usr/lib/x86_64-linux-gnu/libcuda.so.1"
_USER, _SPARSE = "cuda-user.service", "sparse-user.service"
# By its name as a plugin asks for it, and by its path as a wheel does.
_BOTH = f"""\
import ctypes, time
ctypes.CDLL("{TOOLKIT.name}")
ctypes.CDLL("{TOOLKIT}")
time.sleep(3600)
"""
_SERVICE = f"ExecStart=/usr/bin/python3 /opt/sparse-user.py\nEnvironment=LD_LIBRARY_PATH={TOOLKIT.parent}"


def _order(lease: str, fault: str, unit_name: str, ttl_s: float = 120, **params: Any) -> dict[str, Any]:
    params = {"unit": unit_name, "loads_within_s": 10, **params}
    return {"lease": lease, "fault": fault, "params": params, "run": "r", "ttl_s": ttl_s, "max_duration_s": ttl_s}


def _apply(host: Host, *words: Any, **params: Any) -> dict[str, Any]:
    return host.agent("apply", _order(*words, **params), timeout_s=90)


def _undone(host: Host, lease: str) -> dict[str, Any]:
    [line] = host.agent("undo", {"lease": lease}, timeout_s=90)["leases"]
    found: dict[str, Any] = line
    return found


def _left(host: Host) -> str:
    """List whatever is left of ours among drop-ins, links and mounts."""
    return sh(host, "ls -d /run/systemd/system/*.d/zz-chaosgpu-* /run/chaosgpu-library-* 2>/dev/null; "
                    f"grep -E '{OTHER_DRIVER.parent}|{OTHER_TOOLKIT.parent}' /proc/self/mountinfo || true")  # fmt: skip


def _loaded(host: Host, name: str) -> list[str]:
    """Return the files of libcusparse that the unit has in its memory, as the kernel tells it."""
    group = f"/sys/fs/cgroup$(systemctl show -P ControlGroup {name})/cgroup.procs"
    return sh(host, f"cat $(sed 's#.*#/proc/&/maps#' {group}) | grep -o '/.*libcusparse.*' | sort -u").split()


def _environment(host: Host, name: str) -> str:
    return sh(
        host, f"tr '\\0' '\\n' < /proc/$(systemctl show -P MainPID {name})/environ | grep LD_LIBRARY_PATH"
    ).strip()


@pytest.fixture
def files(host: Host) -> Host:
    """Give the host with the libraries on it."""
    drift_units.put(host)
    return host


@contextmanager
def _sparse(host: Host, service: str = _SERVICE) -> Iterator[None]:
    with unit(host, "sparse-user", _BOTH, service):
        wait_until(lambda: _loaded(host, _SPARSE) == [str(TOOLKIT)], 20)
        yield


def _is_plain(host: Host) -> None:
    """See the unit as it was before, and nothing of ours left."""
    wait_until(lambda: _loaded(host, _SPARSE) == [str(TOOLKIT)], 20)
    assert _environment(host, _SPARSE) == f"LD_LIBRARY_PATH={TOOLKIT.parent}"
    assert _left(host) == ""


def test_one_unit_is_told_that_its_driver_does_not_match_and_another_one_and_the_host_are_not(files: Host) -> None:
    host = files
    with beside(host), beside(host, "another-user"):
        applied = _apply(host, "mismatch", _MISMATCH, _USER, files=[str(OTHER_DRIVER)])
        assert applied.get("state") == "active", applied
        observed = applied["observed"]
        assert observed["a_process_is_told"] == {"cuInit": 803}
        assert observed["files"] == {_OWN_DRIVER: str(OTHER_DRIVER)}
        wait_until(lambda: "AssertionError" in sh(host, "journalctl -q -o cat -u cuda-user -n 5"), 20)
        assert sh(host, "systemctl show -P ActiveState cuda-user").strip() == "failed"
        assert set(codes(host, "another-user")) == {"0"}
        assert host.run(["nvidia-smi", "-L"]).returncode == 0
        [listed] = host.agent("list", {"verify": True}, timeout_s=60)["leases"]
        assert listed["verified"] is True, listed
        second = _apply(host, "second", _SHADOW, _USER, file=str(OTHER_TOOLKIT))
        assert second["error"]["kind"] in ("claimed", "no_effect"), second
        undone = _undone(host, "mismatch")
        assert (undone["state"], undone["left_alone"]) == ("clean", []), undone
        wait_until(lambda: codes(host, "cuda-user")[-1:] == ["0"], 20)
        assert _left(host) == ""
        assert _undone(host, "mismatch")["state"] == "clean"


@pytest.mark.triton
def test_a_real_triton_loses_its_model_to_another_drivers_library_and_has_it_back(fleet: Bench, files: Host) -> None:
    with serving(fleet, files) as triton:
        assert triton.right()
        given = {"files": [str(OTHER_DRIVER)], "loads_within_s": 60, "back_within_s": 60}
        applied = _apply(files, "triton", _MISMATCH, "triton.service", **given)
        assert applied.get("state") == "active", applied
        # The server's own words for 803.
        said = "system has unsupported display driver / cuda driver combination"
        wait_until(lambda: said in sh(files, "journalctl -q -o cat -u triton -n 400"), 120)
        assert (triton.ready(), triton.right()) == (False, False)
        assert _undone(files, "triton")["state"] == "clean"
        triton.wait_until_ready()
        assert triton.right()
        assert _left(files) == ""


@pytest.mark.parametrize(
    ("service", "given", "kind", "said"),
    [
        ("", [_OWN_DRIVER], "no_effect", "works with the kernel module that is loaded, so nothing would break"),
        ("", ["/opt/none/libcuda.so.1"], "refused", "No such file"),
        ("", ["/opt/none/libnvidia-ml.so.1"], "no_effect", "has libnvidia-ml loaded now"),
        (
            f"BindReadOnlyPaths=/opt/copied/libcuda.so.1:{_OWN_DRIVER}",
            [str(OTHER_DRIVER)],
            "refused",
            "root of its own",
        ),
    ],
)
def test_what_would_break_nothing_or_cannot_be_reached_is_refused(
    service: str, given: list[str], kind: str, said: str, files: Host
) -> None:
    sh(files, f"mkdir -p /opt/copied; cp {_OWN_DRIVER} /opt/copied/")
    with beside(files, extra=service):
        before = sh(files, "systemctl show -P InvocationID cuda-user")
        refused = _apply(files, f"not-{abs(hash(said))}", _MISMATCH, _USER, files=given)["error"]
        assert (refused["kind"], said in refused["message"]) == (kind, True), refused
        assert sh(files, "systemctl show -P InvocationID cuda-user") == before
        assert _left(files) == ""


@pytest.fixture
def asked(fleet: Bench, tmp_path: Path) -> Iterator[None]:
    """Reach the hosts as an experiment does."""
    use_inventory(named_inventory({"chaosgpu_inventory": str(write_inventory(fleet.plan, tmp_path))}))
    with fleet.inside():
        yield
    use_inventory(None)


@pytest.mark.usefixtures("asked")
def test_a_second_libcusparse_is_loaded_the_probe_says_so_and_it_is_gone_afterwards(files: Host) -> None:
    def once() -> bool:
        return probes.library_loaded_once(_SPARSE, "libcusparse", hosts=files.name, timeout_s=60)

    with _sparse(files):
        assert once()
        applied = _apply(files, "shadow", _SHADOW, _SPARSE, file=str(OTHER_TOOLKIT))
        assert applied.get("state") == "active", applied
        both = sorted([str(TOOLKIT), str(OTHER_TOOLKIT)])
        assert (applied["observed"]["loaded"], applied["observed"]["loaded_once"]) == (both, False)
        assert _loaded(files, _SPARSE) == both
        assert not once()
        assert _environment(files, _SPARSE) == f"LD_LIBRARY_PATH=/run/chaosgpu-library-shadow:{TOOLKIT.parent}"
        [listed] = files.agent("list", {"verify": True}, timeout_s=60)["leases"]
        assert listed["verified"] is True, listed
        again = _apply(files, "again", _SHADOW, _SPARSE, file=str(OTHER_TOOLKIT))["error"]
        assert again["kind"] in ("claimed", "no_effect"), again
        undone = _undone(files, "shadow")
        assert (undone["state"], undone["left_alone"]) == ("clean", []), undone
        _is_plain(files)
        assert once()


def test_the_deadline_takes_it_away_with_the_network_cut(files: Host) -> None:
    with _sparse(files):
        assert _apply(files, "ends", _SHADOW, _SPARSE, file=str(OTHER_TOOLKIT)).get("state") == "active"
        files.agent("renew", {"leases": ["ends"], "ttl_s": 1})
        files.cut_network()
        files.restore_network()
        wait_until(lambda: state(files, "ends")["state"] == "clean", 60)
        assert state(files, "ends")["ended_by"] == "deadline"
        _is_plain(files)


@pytest.mark.parametrize(
    ("fault", "given"), [(_SHADOW, {"file": str(OTHER_TOOLKIT)}), (_MISMATCH, {"files": [str(OTHER_DRIVER)]})]
)
def test_an_agent_that_dies_while_it_applies_leaves_nothing(fault: str, given: dict[str, Any], files: Host) -> None:
    with _sparse(files), beside(files):
        name = _SPARSE if fault == _SHADOW else _USER
        asked = files.start([AGENT, "apply"])
        assert asked.stdin is not None
        order = {"protocol": 1, **_order(f"dies-{fault}", fault, name, **given)}
        asked.stdin.write(json.dumps(order).encode())
        asked.stdin.close()
        asked.stdin = None
        wait_until(lambda: "zz-chaosgpu" in _left(files) or asked.poll() is not None, 60)
        files.run(["pkill", "--signal", "KILL", "-f", "agent.pyz apply"])
        asked.communicate(timeout=20)
        wait_until(lambda: state(files, f"dies-{fault}")["state"] == "clean", 60)
        _is_plain(files)
        wait_until(lambda: codes(files, "cuda-user")[-1:] == ["0"], 20)


def test_after_a_reboot_the_unit_is_plain_and_the_lease_is_reverted(files: Host) -> None:
    with _sparse(files):
        assert _apply(files, "boot", _SHADOW, _SPARSE, file=str(OTHER_TOOLKIT)).get("state") == "active"
        files.reboot()
        files.agent("sweep", timeout_s=60)
        assert state(files, "boot")["state"] == "clean"
        _is_plain(files)


def test_a_unit_that_sets_its_search_path_itself_is_unverified_and_plain_again(files: Host) -> None:
    own = f"ExecStart=/usr/bin/env LD_LIBRARY_PATH={TOOLKIT.parent} /usr/bin/python3 /opt/sparse-user.py"
    with _sparse(files, own):
        given = {"file": str(OTHER_TOOLKIT), "loads_within_s": 3}
        unverified = _apply(files, "itself", _SHADOW, _SPARSE, **given)["error"]
        assert (unverified["kind"], "may set that variable" in unverified["message"]) == ("unverified", True)
        _is_plain(files)


def test_a_drop_in_that_somebody_has_edited_stays_and_is_named(files: Host) -> None:
    with _sparse(files):
        applied = _apply(files, "edited", _SHADOW, _SPARSE, file=str(OTHER_TOOLKIT))
        assert applied.get("state") == "active", applied
        path = f"/run/systemd/system/{_SPARSE}.d/zz-chaosgpu-edited.conf"
        sh(
            files,
            f"printf '[Service]\\nEnvironment=LD_LIBRARY_PATH={TOOLKIT.parent}\\n' > {path}; systemctl daemon-reload",
        )
        undone = _undone(files, "edited")
        assert undone["state"] == "clean", undone
        assert f"{path} was changed by somebody meanwhile" in undone["left_alone"][0]
        assert _loaded(files, _SPARSE) == [str(TOOLKIT)]
        sh(files, f"rm {path}; systemctl daemon-reload")


def test_a_library_that_nobody_asks_for_is_no_effect(files: Host) -> None:
    with beside(files):
        refused = _apply(files, "unasked", _SHADOW, _USER, file=str(OTHER_TOOLKIT))["error"]
        assert (refused["kind"], "has libcusparse loaded now" in refused["message"]) == ("no_effect", True), refused


@pytest.fixture
def driver(host: Host) -> Iterator[Host]:
    """Give a host with the old driver as packages, on hold and pinned in part, as a site has it."""
    folder = packages.repository()
    packages.remove(host)
    packages.set_up(host, folder)
    shutil.rmtree(folder)
    yield host
    host.agent("undo", {"all": True}, timeout_s=packages.APPLY_S)
    packages.remove(host)


def _upgrade(lease: str, names: list[str], **params: Any) -> dict[str, Any]:
    asked = {"packages": names, "back_within_s": 120, **params}
    times = {"ttl_s": 300, "max_duration_s": 300}
    return {"lease": lease, "fault": "package.unattended", "params": asked, "run": "r", **times}


def test_an_unattended_upgrade_that_is_killed_in_the_middle_goes_back_without_the_mirror(driver: Host) -> None:
    sh(driver, "apt-mark unhold nvidia-open nvidia-fabricmanager; rm /etc/apt/preferences.d/site")
    before = packages.seen(driver)
    ordered = _upgrade("killed", ["nvidia-open", "nvidia-fabricmanager"])
    states = packages.apply_and_kill(driver, ordered, packages.Gate("nvidia-utils", "preinst"), "all")
    sh(driver, f"rm -rf {packages.REPOSITORY}")
    ended = packages.wait_clean(driver, "killed", 240)
    assert states, "no package was left half-done, so nothing was proved"
    assert ended["state"] == "clean", ended
    assert packages.seen(driver) == before


def test_guards_refuse_an_upgrade_or_are_what_is_tried_and_either_way_nothing_moves(driver: Host) -> None:
    before = packages.seen(driver)
    names = ["nvidia-open", "nvidia-fabricmanager"]
    refused = driver.agent("apply", _upgrade("refused", names), timeout_s=packages.APPLY_S)["error"]
    assert (refused["kind"], "it is on hold" in refused["message"]) == ("no_effect", True), refused
    tried = driver.agent("apply", _upgrade("tried", names, must_change=False), timeout_s=packages.APPLY_S)
    assert tried.get("state") == "active", tried
    assert [one["package"] for one in tried["observed"]["kept_back"]] == sorted(names)
    [listed] = driver.agent("list", {"verify": True}, timeout_s=packages.APPLY_S)["leases"]
    assert listed["verified"] is True, listed
    sh(driver, "apt-mark unhold nvidia-fabricmanager")
    [listed] = driver.agent("list", {"verify": True}, timeout_s=packages.APPLY_S)["leases"]
    assert listed["verified"] is False, listed  # the control: a guard that is gone stops nothing
    sh(driver, "apt-mark hold nvidia-fabricmanager")
    assert _undone(driver, "tried")["state"] == "clean"
    assert packages.seen(driver) == before
