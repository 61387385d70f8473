# SPDX-License-Identifier: Apache-2.0
"""What counts as told, from alerts as Alertmanager lists them; the real one is asked in tests/lab/test_alerts.py."""

import pytest

from chaosgpu.alerts.api import Alert, where
from chaosgpu.alerts.watching import after_fault, expected_from
from chaosgpu.errors import BadArgument, ReadingUnknown

T0 = 1_000_000.0


def alert(at: float, *receivers: str, silenced: tuple[str, ...] = (), inhibited: tuple[str, ...] = ()) -> Alert:
    return Alert({"alertname": "Slow"}, T0 + at, receivers, silenced, inhibited)


def test_an_alert_that_goes_to_somebody_has_told_them() -> None:
    found = after_fault([alert(4, "on-call")], "Slow", T0, None)
    assert (found.fired, found.told, found.after_s) == (True, True, 4)
    assert found.as_wanted("fires")
    assert not found.as_wanted("does not fire")


def test_an_alert_that_goes_to_somebody_else_has_not_told_the_one_who_is_meant() -> None:
    found = after_fault([alert(4, "archive")], "Slow", T0, "on-call")
    assert (found.fired, found.told) == (True, False)
    assert not found.as_wanted("fires")


@pytest.mark.parametrize("one", [alert(4, "on-call", silenced=("s",)), alert(4, "on-call", inhibited=("i",)), alert(4)])
def test_a_silenced_an_inhibited_and_an_unrouted_alert_have_told_nobody(one: Alert) -> None:
    found = after_fault([one], "Slow", T0, None)
    assert found.fired
    assert not found.told
    assert found.as_wanted("silenced") == bool(one.silenced_by)


def test_no_alert_has_not_fired() -> None:
    found = after_fault([], "Slow", T0, None)
    assert found.as_wanted("does not fire")
    assert not found.as_wanted("silenced")
    assert found.after_s is None


def test_an_alert_that_fired_before_the_fault_says_nothing_about_it() -> None:
    with pytest.raises(ReadingUnknown, match="The alert Slow had been firing for 30 s when the fault began"):
        after_fault([alert(-30, "on-call"), alert(4, "on-call")], "Slow", T0, None)


def test_what_is_expected_must_be_one_of_three_things() -> None:
    assert expected_from({"Slow": "silenced"}) == {"Slow": "silenced"}
    for wrong in ({"Slow": "must fire"}, {}, ["Slow"]):
        with pytest.raises(BadArgument, match="expected"):
            expected_from(wrong)


def test_without_an_address_it_is_said_where_one_may_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHAOSGPU_ALERTMANAGER", raising=False)
    with pytest.raises(BadArgument, match=r"as configuration chaosgpu_alertmanager, or in \$CHAOSGPU_ALERTMANAGER"):
        where(None, 5, {}, None)
    found = where(None, 5, {"chaosgpu_alertmanager": "https://alerts:9093/"}, {"alertmanager_token": "t"})
    assert (found.url, found.token) == ("https://alerts:9093", "t")
