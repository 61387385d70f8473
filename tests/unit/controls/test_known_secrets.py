# SPDX-License-Identifier: Apache-2.0
"""Which values of an experiment are secrets."""

import logging

import pytest

from chaosgpu.controls.known_secrets import LogRedaction, secret_values
from chaosgpu.fleet import redaction


def test_everything_under_secrets_is_one_and_of_the_configuration_what_its_name_or_a_url_says() -> None:
    found = secret_values(
        {
            "site_token": "tok-1",
            "db_password": 123456,
            "triton_url": "http://me:in-the-url@host:8000/",
            "model": "chat",
            "deep": {"api_key": "not by this name, the top one counts"},
        },
        {"site": {"user": "admin", "keys": ["k-1", {"nested": "k-2"}]}, "flat": "k-3"},
    )
    assert found == {"tok-1", "123456", "in-the-url", "admin", "k-1", "k-2", "k-3"}


def test_where_a_secret_comes_from_is_no_secret() -> None:
    assert secret_values(None, {"site": {"password": {"type": "env", "key": "THE_NAME"}}}) == frozenset()


def test_a_log_line_and_its_traceback_are_cleaned(caplog: pytest.LogCaptureFixture) -> None:
    redaction.know(["s3cret-value"])
    record = logging.getLogger("test").makeRecord(
        "test", logging.INFO, __file__, 1, "it is %s", ("s3cret-value",), None
    )
    error = ValueError("it is s3cret-value again")
    record.exc_info = (ValueError, error, None)
    try:
        assert LogRedaction().filter(record)
    finally:
        redaction.forget()
    written = caplog.handler.formatter.format(record) if caplog.handler.formatter else ""
    assert "s3cret-value" not in written
    assert "[redacted]" in written
