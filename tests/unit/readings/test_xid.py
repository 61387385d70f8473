# SPDX-License-Identifier: Apache-2.0
"""Xids since a moment: from the kernel log and from NVML, of the named GPU only."""

import threading
from collections.abc import Callable

import pytest

from chaosgpu.agent.errors import DriverFailed
from chaosgpu.agent.readings.catalogue import Answer, Tools, take
from chaosgpu.agent.values import JsonValue
from chaosgpu.sim.instance import Instance
from unit.readings.conftest import MakeGpus, uuid_of

type MakeTools = Callable[[Instance], Tools]


def codes(answer: Answer) -> list[JsonValue]:
    events = answer.values["events"]
    assert isinstance(events, list)
    return [event["xid"] for event in events if isinstance(event, dict)]


def test_only_the_xids_of_the_named_gpu_are_told(make_gpus: MakeGpus, make_tools: MakeTools) -> None:
    gpus = make_gpus()
    tools = make_tools(gpus)
    gpus.inject("xid", 0, xid=31, pid=77, process="python3")
    gpus.inject("xid", 1, xid=48)
    answer = take("gpu.xid", {"gpu": uuid_of(gpus, 0)}, tools)
    assert codes(answer) == [31]
    events = answer.values["events"]
    assert isinstance(events, list)
    assert isinstance(events[0], dict)
    assert (events[0]["pid"], events[0]["process"], events[0]["from_kernel"]) == (77, "python3", True)


def test_only_what_came_after_the_saved_place_is_told(make_gpus: MakeGpus, make_tools: MakeTools) -> None:
    gpus = make_gpus()
    tools = make_tools(gpus)
    gpus.inject("xid", 0, xid=13)
    place = take("gpu.xid", {"gpu": uuid_of(gpus)}, tools).values["next_sequence"]
    assert codes(take("gpu.xid", {"gpu": uuid_of(gpus), "since_sequence": place}, tools)) == []
    gpus.inject("xid", 0, xid=79)
    assert codes(take("gpu.xid", {"gpu": uuid_of(gpus), "since_sequence": place}, tools)) == [79]


def test_only_the_last_seconds_are_told(make_gpus: MakeGpus, make_tools: MakeTools) -> None:
    gpus = make_gpus()
    tools = make_tools(gpus)
    bus = "0000:1b:00"
    with open(tools.kernel_log, "a", encoding="utf-8") as log:  # noqa: PTH123 (the tools hold a text)
        log.write(f"3,1,1000,-;NVRM: Xid (PCI:{bus}): 13, an old one\n")
    gpus.inject("xid", 0, xid=31)
    assert codes(take("gpu.xid", {"gpu": uuid_of(gpus)}, tools)) == [13, 31]
    assert codes(take("gpu.xid", {"gpu": uuid_of(gpus), "within_s": 30}, tools)) == [31]


def test_no_xid_is_a_count_of_zero_and_a_log_that_cannot_be_read_is_unknown(
    make_gpus: MakeGpus, make_tools: MakeTools
) -> None:
    gpus = make_gpus()
    tools = make_tools(gpus)
    assert take("gpu.xid", {"gpu": uuid_of(gpus)}, tools).values["count"] == 0
    blind = Tools(tools.driver, tools.clock, kernel_log="/nonexistent/kmsg")
    answer = take("gpu.xid", {"gpu": uuid_of(gpus)}, blind)
    assert "count" not in answer.values
    assert "/nonexistent/kmsg cannot be read" in answer.why("count")


def test_nvml_tells_what_happens_while_it_listens(make_gpus: MakeGpus, make_tools: MakeTools) -> None:
    gpus = make_gpus()
    tools = make_tools(gpus)
    tools.driver.call("listen_for_xids", uuid_of(gpus))
    gpus.inject("xid", 0, xid=94)
    gpus.inject("xid", 0, xid=31)
    assert tools.driver.call("heard_xids", uuid_of(gpus), 500) == [94, 31]
    assert tools.driver.call("heard_xids", uuid_of(gpus), 0) == []


def test_listening_hears_an_event_in_its_window(make_gpus: MakeGpus, make_tools: MakeTools) -> None:
    gpus = make_gpus()
    tools = make_tools(gpus)
    tools.driver.call("list_gpus")  # the child is forked before there is a second thread
    timer = threading.Timer(0.15, gpus.inject, ("xid", 0), {"xid": 43})
    timer.start()
    answer = take("gpu.xid", {"gpu": uuid_of(gpus), "listen_s": 0.5}, tools)
    timer.join()
    assert answer.values["heard"] == [43]
    assert "heard" not in answer.unknown


def test_without_listening_what_nvml_heard_is_unknown(make_gpus: MakeGpus, make_tools: MakeTools) -> None:
    gpus = make_gpus()
    answer = take("gpu.xid", {"gpu": uuid_of(gpus)}, make_tools(gpus))
    assert "set listen_s" in answer.why("heard")


def test_a_lost_gpu_is_still_found_in_the_log_by_its_bus(make_gpus: MakeGpus, make_tools: MakeTools) -> None:
    gpus = make_gpus()
    tools = make_tools(gpus)
    name = uuid_of(gpus)
    gpus.inject("lost", 0)
    assert codes(take("gpu.xid", {"gpu": "0000:1b:00.0"}, tools)) == [79]
    with pytest.raises(DriverFailed, match="name it by its PCI bus id"):
        take("gpu.xid", {"gpu": name}, tools)
