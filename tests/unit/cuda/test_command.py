# SPDX-License-Identifier: Apache-2.0
"""`chaosgpu drift` as a person types it: what is printed, which file is written, and the exit code."""

import json
from pathlib import Path

import pytest

from chaosgpu.cli.main import main
from chaosgpu.cuda.facts import Facts, read_facts, write_facts
from chaosgpu.fleet.ask import use_transport
from chaosgpu.fleet.transports.memory import MemoryTransport
from chaosgpu.fleet.values import JsonObject, JsonValue
from support.drift_facts import host


def _agent(facts: Facts) -> MemoryTransport:
    """Answer as an agent with these facts does, and with an error to any other reading."""

    def answer(verb: str, request: JsonObject) -> JsonObject:
        if (verb, request.get("reading")) != ("read", "fleet.facts"):
            return {"error": {"kind": "bad_request", "message": "There is no such reading."}}
        unknown: JsonObject = dict(facts.unknown)
        return {"protocol": 1, "values": facts.values, "unknown": unknown}

    return MemoryTransport(answer)


def _kept(path: Path, **changed: dict[str, JsonValue]) -> str:
    names = ("gpu01", "gpu02", "gpu03")
    write_facts(path, [host(name, changed.get(name)) for name in names])
    return str(path)


def test_a_host_is_asked_in_one_call_with_all_that_was_named(capsys: pytest.CaptureFixture[str]) -> None:
    transport = _agent(host("localhost"))
    words = ["--service", "triton.service", "--environment", "chat=/opt/v", "--engines", "/models", "--triton", "/t"]
    with use_transport(transport):
        assert main(["drift", "scan", *words]) == 0
    [(verb, request)] = transport.asked
    assert verb == "read"
    assert request["params"] == {
        "services": ["triton.service"], "environments": {"chat": "/opt/v"}, "engines": ["/models"], "triton": "/t",
    }  # fmt: skip
    assert "no drift: 1 host" in capsys.readouterr().out


def test_a_baseline_then_a_scan_then_a_changed_host(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lock = tmp_path / "fleet.lock.yaml"
    with use_transport(_agent(host("localhost"))):
        assert main(["drift", "baseline", "--service", "triton.service", "--output", str(lock)]) == 0
        assert main(["drift", "scan", "--lock", str(lock)]) == 0
    assert "look_at:\n  services:\n  - triton.service\n" in lock.read_text()
    changed = _agent(host("localhost", {"gpus": {}}))
    capsys.readouterr()
    with use_transport(changed):
        assert main(["drift", "scan", "--lock", str(lock)]) == 1
    assert "localhost: gpus.count: locked 2, found 0" in capsys.readouterr().out
    assert changed.asked[0][1]["params"] == {"services": ["triton.service"]}


def test_a_lock_file_with_an_unknown_key_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lock = tmp_path / "lock.yaml"
    lock.write_text("version: 1\nrecorded: 2026-11-26\ngroups: {all: {hosts: [localhost], locked: {drivr: {}}}}\n")
    assert main(["drift", "scan", "--lock", str(lock)]) == 2
    assert "groups.all.locked has no key 'drivr'; did you mean 'driver'?" in capsys.readouterr().err


def test_a_host_that_cannot_be_reached_is_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    with use_transport(_agent(host("localhost"))):
        assert main(["drift", "scan", "--hosts", "localhost", "--hosts", "no-such-host"]) == 3
    assert "no-such-host: UNKNOWN, it gave no answer" in capsys.readouterr().out


def test_no_lock_file_is_made_of_hosts_that_do_not_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "lock.yaml"
    assert main(["drift", "baseline", "--hosts", "no-such-host", "--output", str(path)]) == 2
    assert "No lock file is made of hosts that do not answer: no-such-host" in capsys.readouterr().err
    assert not path.exists()


def test_outliers_of_a_fleet_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = _kept(tmp_path / "now.json", gpu02={"kernel/release": "other"})
    assert main(["drift", "scan", "--facts", facts, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["exit_code"] == 1
    [one] = found["outliers"]
    assert (one["key"], one["agree"], one["others"]) == ("kernel.release", 2, [{"value": "other", "hosts": ["gpu02"]}])


def test_facts_are_kept_and_compared_with_those_of_another_day(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "kept.json"
    with use_transport(_agent(host("localhost", kernel__microcode="is not there"))):
        assert main(["drift", "scan", "--keep", str(kept)]) == 0
    assert read_facts(kept)["localhost"].unknown == {"kernel.microcode": "is not there"}
    before, after = _kept(tmp_path / "a.json"), _kept(tmp_path / "b.json", gpu03={"driver/flavour": "proprietary"})
    capsys.readouterr()
    assert main(["drift", "diff", before, before]) == 0
    assert main(["drift", "diff", before, after]) == 1
    printed = capsys.readouterr().out
    assert "gpu03: driver.flavour: before open, after proprietary" in printed
    assert "some GPUs need one of them" in printed


def test_two_lock_files_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = _kept(tmp_path / "now.json", gpu03={"triton/version": "2.51.0"})
    one, other = str(tmp_path / "one.yaml"), str(tmp_path / "other.yaml")
    assert main(["drift", "baseline", "--facts", facts, "--group", "old=gpu01,gpu02", "--output", one]) == 0
    groups = ["--group", "old=gpu01,gpu02", "--group", "new=gpu03"]
    assert main(["drift", "baseline", "--facts", facts, *groups, "--output", other]) == 0
    capsys.readouterr()
    assert main(["drift", "diff", one, other, "--json"]) == 1
    found = {(row["host"], row["key"]): row["found"] for row in json.loads(capsys.readouterr().out)}
    assert found["new", "triton.version"] == "2.51.0"
    assert not {host for host, _ in found} - {"new"}


def test_a_change_is_explained_before_it_is_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = _kept(tmp_path / "now.json")
    words = ["drift", "explain", "--facts", facts, "--hosts", "gpu01"]
    assert main([*words, "--set", "driver.library=575.57.08"]) == 1
    assert "gpu01: BREAKS [library-is-not-the-modules]" in capsys.readouterr().out
    assert main([*words, "--set", "driver.flavour=proprietary"]) == 0
    assert "what no rule knows may break all the same" in capsys.readouterr().out
    assert main([*words, "--set", "driver.library"]) == 2
    assert main([*words, "--set", "gpus.vbios=1"]) == 2


def test_explain_without_a_change_says_what_each_difference_breaks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = _kept(tmp_path / "now.json", gpu02={"kernel/release": "other"})
    assert main(["drift", "explain", "--facts", facts]) == 1
    assert "breaks: modules are built for one kernel" in capsys.readouterr().out


def test_pins_are_printed_for_a_host_of_the_lock(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lock = str(tmp_path / "lock.yaml")
    main(["drift", "baseline", "--facts", _kept(tmp_path / "now.json"), "--output", lock])
    capsys.readouterr()
    assert main(["drift", "pin", "--lock", lock, "--host", "gpu01", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["manager"], found["certain"]) == ("apt", True)
    assert "libnvidia-compute-580" in found["holds"]
    assert "Pin: version 580.95.05-0ubuntu1" in found["preferences"]
    assert main(["drift", "pin", "--lock", lock, "--host", "gpu09"]) == 2


def _lock_of(path: Path, locked: str) -> str:
    path.write_text(f"version: 1\nrecorded: 2026-11-26\ngroups: {{all: {{hosts: [gpu01], locked: {{{locked}}}}}}}\n")
    return str(path)


def test_a_host_of_rpm_packages_is_pinned_in_dnfs_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    locked = "kernel: {distribution: rocky 9.4}, packages: {nvidia-open: '3:580.95.05-1.el9'}"
    lock = _lock_of(tmp_path / "lock.yaml", locked)
    assert main(["drift", "pin", "--lock", lock, "--host", "gpu01"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(
        "# For dnf: the lock file has kernel.distribution rocky 9.4.\n# /etc/dnf/plugins/versionlock"
    )
    assert "\nnvidia-open-3:580.95.05-1.el9.*\n" in printed
    assert printed.endswith("\n# or: dnf versionlock add nvidia-open-3:580.95.05-1.el9\n")
    assert "Pin" not in printed
    assert main(["drift", "pin", "--lock", lock, "--host", "gpu01", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == {
        "manager": "dnf", "certain": True, "why": "the lock file has kernel.distribution rocky 9.4",
        "file": "/etc/dnf/plugins/versionlock.list", "lines": ["nvidia-open-3:580.95.05-1.el9.*"],
        "command": ["dnf", "versionlock", "add", "nvidia-open-3:580.95.05-1.el9"],
    }  # fmt: skip


def test_a_host_of_which_the_lock_says_too_little_is_pinned_for_apt_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = _lock_of(tmp_path / "lock.yaml", "packages: {libnccl: 2.27.7-1}")
    assert main(["drift", "pin", "--lock", lock, "--host", "gpu01"]) == 0
    said = capsys.readouterr()
    assert "# For apt: whether its packages are apt's or dnf's is not known" in said.out
    assert "Package: libnccl\nPin: version 2.27.7-1\n" in said.out


@pytest.mark.parametrize(
    ("text", "said"), [("{}", "holds no facts"), ("no json", "holds no facts"), ('{"facts": []}', "holds no facts")]
)
def test_a_file_without_facts_is_an_error(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "facts.json"
    path.write_text(text)
    assert main(["drift", "scan", "--facts", str(path)]) == 2
    assert said in capsys.readouterr().err
