# SPDX-License-Identifier: Apache-2.0
"""A real Prometheus, a real Alertmanager and a pager for a lab: what they watch, when they fire, whom they tell."""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from chaosgpu.errors import LabFailed, Unreachable
from chaosgpu.lab.debian import unpacked
from chaosgpu.lab.plan import Service, free_port
from chaosgpu.triton.http import exchange

__all__ = ["RECEIVER", "RULES", "AlertingPlan", "laid_out", "wait_until_ready"]

RECEIVER = "on-call"
_READY_S, _POLL_S, _OK = 30.0, 0.1, 200
_PAGER = (sys.executable, str(Path(__file__).with_name("pager.py")))
_PACKAGES = ("prometheus", "prometheus-alertmanager")
# A lab's minute is a second: what a site waits minutes for, these wait seconds for.
RULES: dict[str, str] = {
    "GatewayErrors": (
        'sum(rate(gateway_requests_total{status!="200"}[5s])) / sum(rate(gateway_requests_total[5s])) > 0.05'
    ),
    "GatewaySlow": "histogram_quantile(0.95, sum by (le) (rate(gateway_request_seconds_bucket[5s]))) > 1",
    "GatewayPilesUp": "gateway_requests_under_way > 20",
    "BreakerOpen": "gateway_breaker_open > 0.9",
    "TritonQueue": "sum by (model) (nv_inference_pending_request_count) > 20",
    # What has not come up yet with the lab is not down.
    "TargetDown": "up == 0 and max_over_time(up[10m]) == 1",
}


@dataclass(frozen=True)
class AlertingPlan:
    """The processes that the supervisor starts, and where they are."""

    prometheus_url: str
    alertmanager_url: str
    services: tuple[Service, ...]
    exported: dict[str, str]


def laid_out(
    directory: Path, targets: Mapping[str, str], rules: Mapping[str, str], say: Callable[[str], None]
) -> AlertingPlan:
    """Unpack the programs and write their configuration. `targets`: a name and HOST:PORT of each metrics page."""
    root = unpacked(_PACKAGES, say)
    prometheus, alertmanager, pager = free_port(), free_port(), free_port()
    home = directory / "alerting"
    for folder in ("prometheus", "alertmanager"):
        (home / folder).mkdir(parents=True)
    # JSON is YAML, and what is written by json.dumps needs no escaping of ours.
    files: dict[str, object] = {
        "prometheus.yml": {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(home / "rules.yml")],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{alertmanager}"]}]}]},
            "scrape_configs": [
                {"job_name": name, "static_configs": [{"targets": [target]}]} for name, target in targets.items()
            ],
        },
        "rules.yml": {"groups": [{"name": "lab", "rules": [_rule(*rule) for rule in rules.items()]}]},
        "alertmanager.yml": {
            "route": {
                "receiver": RECEIVER,
                "group_by": ["alertname"],
                "group_wait": "1s",
                "group_interval": "1s",
                "repeat_interval": "1h",
            },
            "receivers": [{"name": RECEIVER, "webhook_configs": [{"url": f"http://127.0.0.1:{pager}/"}]}],
        },
    }
    for name, document in files.items():
        (home / name).write_text(json.dumps(document, indent=1) + "\n")
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(home), "GOMAXPROCS": "1"}
    return AlertingPlan(
        prometheus_url=f"http://127.0.0.1:{prometheus}",
        alertmanager_url=f"http://127.0.0.1:{alertmanager}",
        services=(
            Service(
                "pager", (sys.executable, "-m", "chaosgpu.lab.pager", str(pager), str(directory / "pages.jsonl")), {}
            ),
            Service("alertmanager", _alertmanager(root, home, alertmanager), environment),
            Service("prometheus", _prometheus(root, home, prometheus), environment),
        ),
        exported={
            "CHAOSGPU_ALERTMANAGER": f"http://127.0.0.1:{alertmanager}",
            "CHAOSGPU_LAB_PROMETHEUS": f"http://127.0.0.1:{prometheus}",
            "CHAOSGPU_LAB_PAGES": str(directory / "pages.jsonl"),
        },
    )


def wait_until_ready(exported: Mapping[str, str], say: Callable[[str], None]) -> None:
    """Wait until both answer."""
    for key in ("CHAOSGPU_LAB_PROMETHEUS", "CHAOSGPU_ALERTMANAGER"):
        deadline = time.monotonic() + _READY_S
        while not _ready(exported[key]):
            if time.monotonic() > deadline:
                raise LabFailed(f"{exported[key]} was not ready within {_READY_S:g} s; see its log in the lab's folder")
            time.sleep(_POLL_S)
    say(f"Prometheus watches at {exported['CHAOSGPU_LAB_PROMETHEUS']}, pages come to {exported['CHAOSGPU_LAB_PAGES']}")


def _ready(url: str) -> bool:
    try:
        return exchange(url, "GET", "/-/ready", within_s=1.0).status == _OK
    except Unreachable:
        return False  # not listening yet


def _rule(name: str, expression: str) -> dict[str, object]:
    return {"alert": name, "expr": expression, "for": "2s", "labels": {"severity": "page"}}


def _alertmanager(root: Path, home: Path, port: int) -> tuple[str, ...]:
    """Debian's Alertmanager reads a template by its whole path: it gets it in a mount namespace of its own."""
    user = () if os.geteuid() == 0 else ("--map-root-user",)
    script = 'mount -t overlay overlay -o "lowerdir=$1:/usr/share" /usr/share && shift && exec "$@"'
    return (
        *("/usr/bin/unshare", "--mount", *user, "--", "/bin/sh", "-c", script, "sh", str(root / "usr/share")),
        str(root / "usr/bin/prometheus-alertmanager"),
        f"--config.file={home / 'alertmanager.yml'}",
        f"--storage.path={home / 'alertmanager'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
        "--log.level=warn",
    )


def _prometheus(root: Path, home: Path, port: int) -> tuple[str, ...]:
    return (
        str(root / "usr/bin/prometheus"),
        f"--config.file={home / 'prometheus.yml'}",
        f"--storage.tsdb.path={home / 'prometheus'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    )
