# SPDX-License-Identifier: Apache-2.0
"""JUnit's XML of a run, so that a CI system shows it: what is not known is an error, never a pass and never skipped."""

import re
import xml.etree.ElementTree as ET

from chaosgpu.evidence.cases import cases
from chaosgpu.evidence.story import Story

__all__ = ["junit"]

_NO_XML = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(story: Story) -> bytes:
    """Write one test suite, a test case a claim."""
    every = cases(story)
    failed = sum(case.holds is False for case in every)
    unknown = sum(case.holds is None for case in every)
    counts = {"tests": str(len(every)), "failures": str(failed), "errors": str(unknown), "skipped": "0"}
    suites = ET.Element("testsuites", counts)
    stamp = {"timestamp": story.started or story.planned or "", "name": _plain(story.title), "hostname": story.run}
    suite = ET.SubElement(suites, "testsuite", {**stamp, **counts})
    properties = ET.SubElement(suite, "properties")
    for name, value in (("run", story.run), ("verdict", story.verdict or "none"), ("reason", story.reason)):
        ET.SubElement(properties, "property", {"name": name, "value": _plain(value)})
    for case in every:
        named = {"classname": story.run, "name": _plain(case.name), "time": f"{case.seconds:.3f}"}
        one = ET.SubElement(suite, "testcase", named)
        if case.holds is not True:
            kind = "failure" if case.holds is False else "error"
            ET.SubElement(one, kind, {"message": _plain(case.said or "it is not known")})
    ET.indent(suites)
    text: str = ET.tostring(suites, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'.encode()


def _plain(source: str) -> str:
    """Leave out what XML cannot hold."""
    return _NO_XML.sub("\N{REPLACEMENT CHARACTER}", source)
