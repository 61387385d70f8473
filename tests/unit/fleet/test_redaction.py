# SPDX-License-Identifier: Apache-2.0
"""Secrets in every form in which they travel."""

import base64
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaosgpu.fleet.redaction import MASK, Redactor, redact_text

SECRET = 'p"ä ss/w0rd+='  # noqa: S105 (made up)

FORMS = {
    "plain": SECRET,
    "quoted for a URL": quote(SECRET, safe=""),
    "quoted for a form": quote_plus(SECRET),
    "base64": base64.b64encode(SECRET.encode()).decode(),
    "base64 for URLs": base64.urlsafe_b64encode(SECRET.encode()).decode(),
    "basic authorization": base64.b64encode(f"user:{SECRET}".encode()).decode(),
    "base64 behind two bytes": base64.b64encode(f"ab{SECRET}cd".encode()).decode(),
    "hex": SECRET.encode().hex(),
    "upper case hex": SECRET.encode().hex().upper(),
    "inside JSON": json.dumps({"password": SECRET}),
    "inside JSON inside JSON": json.dumps(json.dumps({"password": SECRET}, ensure_ascii=False)),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_secret_is_taken_out_of_text(form: str) -> None:
    clean = Redactor([SECRET]).text(f"before {FORMS[form]} after")

    assert MASK in clean
    assert clean.startswith("before ")
    assert clean.endswith(" after")
    for spelled in FORMS.values():
        assert spelled not in clean


def test_secrets_are_taken_out_of_keys_lists_and_numbers() -> None:
    clean = Redactor(["tok-abcdef", "123456"]).object({"tok-abcdef": [{"pin": 123456, "n": 12, "s": "x tok-abcdef"}]})

    assert clean == {MASK: [{"pin": MASK, "n": 12, "s": f"x {MASK}"}]}


def test_a_secret_inside_a_longer_secret_leaves_nothing_of_it() -> None:
    assert Redactor(["secret", "secret-and-more"]).text("secret-and-more") == MASK


def test_a_very_short_secret_is_taken_out_only_where_it_is_the_whole_value() -> None:
    redactor = Redactor(["abc"])
    assert redactor.value(["abc", "abcdef"]) == [MASK, "abcdef"]


def test_what_a_program_says_of_its_own_credentials_is_taken_out() -> None:
    said = redact_text("login failed: password=hunter2 token: abc https://me:pw@host/ Authorization: Bearer xyz")
    for leak in ("hunter2", "abc", ":pw@", "xyz"):
        assert leak not in said
    assert "login failed" in said


@given(st.text(min_size=4, max_size=30), st.text(max_size=20), st.text(max_size=20))
def test_no_secret_survives_in_text_or_in_base64_of_that_text(secret: str, before: str, after: str) -> None:
    redactor = Redactor([secret])
    assert secret not in redactor.text(before + secret + after).replace(MASK, "")
    hidden = base64.b64encode((before + secret + after).encode()).decode()
    assert redactor.text(hidden) != hidden
