# SPDX-License-Identifier: Apache-2.0
"""What the renewer reports, taken into the book and, sparsely, into the ledger."""

import logging
import math

from chaosgpu.fleet.values import JsonObject, number, objects, optional_text
from chaosgpu.lease.book import Lease
from chaosgpu.lease.run import Run

__all__ = ["last_renewal", "take_reports"]

logger = logging.getLogger("chaostoolkit")

# A drill of an hour must not fill its record with its own heartbeat.
_TELL_EVERY_S = 60.0


def take_reports(run: Run, *, failing: bool) -> bool:
    """Take what was reported; `failing` says whether renewing failed before, the result whether it does now."""
    for report in run.renewal.reports():
        if "renewed" in report:
            failing = False
            for said in objects(report, "renewed"):
                _renewed(run, said)
        elif "failed" in report:
            if not failing:
                logger.warning(
                    "The leases of this run could not be renewed, which is tried again: %s", report["failed"]
                )
            failing = True
        elif not run.closing.is_set():
            logger.error(
                "Nothing is renewed any more: %s. What is in force ends by itself within %.0f s.",
                report.get("stopped"),
                run.renewal.ttl_s,
            )
    return failing


def _renewed(run: Run, said: JsonObject) -> None:
    """Take the answer about one lease; one that is not active any more is to be asked for at once."""
    lease = run.book.get(str(said.get("lease")))
    if lease is None or not lease.in_force:
        return
    if said.get("state") != "active":
        if lease.was_active:
            run.book.change(lease.lease, expires_at_s=-math.inf)
        return
    left_s = number(said, "expires_in_s")
    if left_s is not None and optional_text(said, "reason") is None:
        now_s = run.names.monotonic()
        lease = run.book.change(lease.lease, renewals=lease.renewals + 1, expires_at_s=now_s + left_s)
        if now_s - lease.told_at_s >= _TELL_EVERY_S:
            _tell(run, lease)


def last_renewal(run: Run, lease: Lease) -> None:
    """Write the last renewal of a lease, unless it is written."""
    now = run.book.get(lease.lease)
    if now is not None and now.renewals > now.renewals_told:
        _tell(run, now)


def _tell(run: Run, lease: Lease) -> None:
    now_s = run.names.monotonic()
    run.book.change(lease.lease, renewals_told=lease.renewals, told_at_s=now_s)
    run.note(
        "lease.renewed",
        lease=lease.lease,
        host=lease.host,
        fault=lease.fault,
        renewals=lease.renewals,
        expires_in_s=round(lease.expires_at_s - now_s, 3),
    )
