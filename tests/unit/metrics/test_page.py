# SPDX-License-Identifier: Apache-2.0
"""A metrics page is read as Prometheus reads it, and what is absent is not zero."""

import pytest

from chaosgpu.errors import BadArgument, ReadingUnknown
from chaosgpu.metrics.page import Page, labels_from, read

PAGE = r"""# HELP calls What was wanted
# TYPE calls counter
calls_total{upstream="chat",code="200"} 12
calls_total{upstream="chat",code="500"} 3 1764000000000
calls_total{upstream="store"} 1e2
odd{text="a \"quoted\" \\ and\nbroken, {line}"} NaN
plain 0
not a sample at all
"""


def page() -> Page:
    return Page("http://x/metrics", read(PAGE))


def test_samples_with_the_wanted_labels_are_added_up() -> None:
    assert page().total("calls_total", {"upstream": "chat"}) == 15
    assert page().total("calls_total", {}) == 115
    assert page().total("plain", {}) == 0


def test_escapes_in_labels_are_undone() -> None:
    odd = next(one for one in read(PAGE) if one.name == "odd")
    assert odd.labels == {"text": 'a "quoted" \\ and\nbroken, {line}'}


def test_what_is_absent_is_not_zero() -> None:
    assert page().total("calls_total", {"upstream": "embed"}) is None
    with pytest.raises(ReadingUnknown, match=r'hold no calls_total\{upstream="embed"\}: absent is not zero'):
        page().needed("calls_total", {"upstream": "embed"})


def test_labels_must_be_texts() -> None:
    assert labels_from(None) == {}
    with pytest.raises(BadArgument, match="labels must be an object of texts"):
        labels_from({"code": 200})
