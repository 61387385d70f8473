# SPDX-License-Identifier: Apache-2.0
"""Alertmanager's API (version 2), typed: alerts, silences. Plain or TLS, with a bearer token where there is one."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote, urlsplit

import requests

from chaosgpu.errors import BadArgument, NotReached, Refused, Unreachable
from chaosgpu.fleet.values import JsonObject, JsonValue

__all__ = ["Alert", "Alertmanager", "Silence", "where"]

_URL_KEY, _URL_ENVIRONMENT, _TOKEN = "chaosgpu_alertmanager", "CHAOSGPU_ALERTMANAGER", "alertmanager_token"
_OK, _MISSING, _TOO_LARGE = 300, 404, 16 * 1024 * 1024


@dataclass(frozen=True)
class Alert:
    """One alert that has not ended. `silenced_by` and `inhibited_by` say why nobody is told of it."""

    labels: Mapping[str, str]
    started_at: float
    receivers: tuple[str, ...]
    silenced_by: tuple[str, ...]
    inhibited_by: tuple[str, ...]

    @property
    def told(self) -> bool:
        """Whether somebody is told."""
        return bool(self.receivers) and not self.silenced_by and not self.inhibited_by


@dataclass(frozen=True)
class Silence:
    """One silence."""

    id: str
    state: str
    ends_at: float


@dataclass(frozen=True)
class Alertmanager:
    """One Alertmanager; each call has its deadline, proxies of the environment are not asked."""

    url: str
    token: str | None
    within_s: float

    def alerts(self, labels: Mapping[str, str]) -> list[Alert]:
        """List the alerts with these labels, silenced and inhibited ones too."""
        filters = "&".join(f"filter={quote(f'{name}={json.dumps(value)}')}" for name, value in labels.items())
        listed = self._asked("GET", f"/api/v2/alerts?{filters}")
        return [_alert(one) for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []

    def silence(self, labels: Mapping[str, str], span: tuple[datetime, datetime], comment: str) -> str:
        """Set a silence that ends by itself, and return its name."""
        matchers: list[JsonValue] = [
            {"name": name, "value": value, "isRegex": False, "isEqual": True} for name, value in labels.items()
        ]
        document: JsonObject = {
            "matchers": matchers,
            "startsAt": span[0].isoformat(),
            "endsAt": span[1].isoformat(),
            "createdBy": "chaosgpu",
            "comment": comment,
        }
        made = self._asked("POST", "/api/v2/silences", document)
        if not isinstance(made, dict) or not isinstance(made.get("silenceID"), str):
            raise Unreachable(f"{self.url} took a silence and did not say its name: {made!r}.")
        return str(made["silenceID"])

    def silence_state(self, name: str) -> Silence | None:
        """Read a silence; None for one that Alertmanager does not know (any more)."""
        found = self._asked("GET", f"/api/v2/silence/{quote(name, safe='')}", missing=True)
        if not isinstance(found, dict):
            return None
        status = found.get("status")
        state = status.get("state") if isinstance(status, dict) else None
        return Silence(name, str(state), _time(found.get("endsAt")))

    def end_silence(self, name: str) -> None:
        """End a silence; one that has ended is left as it is."""
        self._asked("DELETE", f"/api/v2/silence/{quote(name, safe='')}", missing=True)

    def _asked(self, method: str, path: str, body: JsonObject | None = None, *, missing: bool = False) -> JsonValue:
        what = f"{method} {path.partition('?')[0]} at {self.url}"
        headers = {} if self.token is None else {"Authorization": f"Bearer {self.token}"}
        try:
            with requests.Session() as session:
                session.trust_env = False
                answer = session.request(
                    method,
                    f"{self.url}{path}",
                    json=body,
                    headers=headers,
                    timeout=self.within_s,
                    allow_redirects=False,
                    verify=os.environ.get("SSL_CERT_FILE") or True,
                )
        except requests.exceptions.ConnectionError as error:
            raise NotReached(f"{what}: no connection: {_root(error)}. Is Alertmanager running there?") from error
        except requests.exceptions.RequestException as error:
            raise Unreachable(f"{what}: {_root(error)}.") from error
        if missing and answer.status_code == _MISSING:
            return None
        if answer.status_code >= _OK or len(answer.content) > _TOO_LARGE:
            raise Refused(f"{what}: HTTP {answer.status_code}: {answer.text[:200].strip()}")
        try:
            found: JsonValue = answer.json() if answer.content else None
        except ValueError as error:
            raise Unreachable(f"{what}: the answer is not JSON; is this an Alertmanager?") from error
        return found


def where(
    url: object, within_s: float, configuration: Mapping[str, object] | None, secrets: Mapping[str, object] | None
) -> Alertmanager:
    """Find the Alertmanager that is meant: the argument, else the configuration, else the environment."""
    found = url or (configuration or {}).get(_URL_KEY) or os.environ.get(_URL_ENVIRONMENT)
    parts = urlsplit(found) if isinstance(found, str) else None
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username:
        raise BadArgument(
            f"url must be http(s)://HOST:PORT of an Alertmanager, not {found!r}: give it here, as configuration "
            f"{_URL_KEY}, or in ${_URL_ENVIRONMENT}."
        )
    token = (secrets or {}).get(_TOKEN)
    return Alertmanager(str(found).rstrip("/"), token if isinstance(token, str) else None, within_s)


def _alert(source: JsonObject) -> Alert:
    status = source.get("status")
    status = status if isinstance(status, dict) else {}
    labels = source.get("labels")
    receivers = source.get("receivers")
    names = [one.get("name") for one in receivers if isinstance(one, dict)] if isinstance(receivers, list) else []
    return Alert(
        labels={name: str(value) for name, value in labels.items()} if isinstance(labels, dict) else {},
        started_at=_time(source.get("startsAt")),
        receivers=tuple(str(name) for name in names),
        silenced_by=_texts(status.get("silencedBy")),
        inhibited_by=_texts(status.get("inhibitedBy")),
    )


def _texts(value: JsonValue) -> tuple[str, ...]:
    return tuple(str(one) for one in value) if isinstance(value, list) else ()


def _time(value: JsonValue) -> float:
    try:
        return datetime.fromisoformat(str(value)).timestamp()
    except ValueError as error:
        raise Unreachable(f"Alertmanager gave {value!r} where a time should be.") from error


def _root(error: BaseException) -> str:
    """Return the innermost reason: the outer ones repeat the address."""
    while error.__context__ is not None:
        error = error.__context__
    return str(error) or type(error).__name__
