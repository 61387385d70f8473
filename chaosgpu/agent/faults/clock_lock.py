# SPDX-License-Identifier: Apache-2.0
"""gpu.clock.lock: hold the GPU's clock down (or up), as a throttling GPU would be."""

from dataclasses import dataclass
from typing import Optional, Tuple

from chaosgpu.agent import values
from chaosgpu.agent.errors import BadRequest, NoEffect, Refused, Unverified
from chaosgpu.agent.faults.clocks import SET_BY_USER, Band, clocks, parse_prior_lock, refuse_foreign_lock
from chaosgpu.agent.faults.contract import Context, Fault, Held, Restored
from chaosgpu.agent.faults.on_gpu import GPU_KEYS, OnGpu, ask, gpu_of, parse_gpu, refuse_unhealthy, uuid_in, wait_until
from chaosgpu.agent.values import JsonMapping, JsonObject

VOLTA = 5
SEEN_WITHIN_S = 5.0
INTERVAL_S = 0.3


@dataclass(frozen=True)
class LockParams(OnGpu):
    """The range to lock to, and the one that is in force by declaration."""

    band: Band
    prior_lock: Optional[Band]


class ClockLock(Fault[LockParams]):
    """The locked graphics clock."""

    name = "gpu.clock.lock"
    summary = "Locks the GPU's clock to a range: work is slower, as on a GPU that throttles, and nothing looks broken."
    plane = "state"
    tier = "T2"
    fidelity = "default"
    privilege = "root"
    claimed = "the GPU's clocks"
    refuses = "products before Volta; a lock of somebody else in force, unless it is declared as prior_lock"
    traps = (
        "No driver tells what the clocks are locked to. Undo therefore takes every lock away, or sets the one declared "
        "as prior_lock. A lock on an idle GPU may be seen by nobody: put load on it before."
    )

    def parse(self, raw: JsonMapping) -> LockParams:
        """Read the values alone."""
        values.only(raw, self.name, GPU_KEYS | {"mhz", "min_mhz", "max_mhz", "prior_lock"})
        source = dict(raw)
        if raw.get("mhz") is not None:
            if raw.get("min_mhz") is not None or raw.get("max_mhz") is not None:
                raise BadRequest("Give either mhz, or min_mhz and max_mhz.")
            source["min_mhz"] = source["max_mhz"] = values.whole(raw, "mhz", 1, 10_000)
        return LockParams(parse_gpu(raw), Band.from_json(source, self.name), parse_prior_lock(raw))

    def check(self, params: LockParams, context: Context) -> None:
        """Refuse an ailing or too old GPU, a foreign lock, and a range that shuts nothing out."""
        uuid = uuid_in(gpu_of(params.gpu, context))
        refuse_unhealthy(uuid, context)
        now = clocks(uuid, context)
        if now.architecture is not None and now.architecture < VOLTA:
            raise Refused(f"GPU {uuid} is older than Volta and does not support locked clocks. Nothing was changed.")
        refuse_foreign_lock(uuid, now, params.prior_lock)
        if params.band == params.prior_lock:
            raise NoEffect(f"The clocks of GPU {uuid} are locked to that range already, by your declaration.")
        if params.band.max_mhz >= now.max_sm_mhz and params.band.min_mhz <= now.sm_mhz:
            raise NoEffect(
                f"GPU {uuid} goes up to {now.max_sm_mhz} MHz and is at {now.sm_mhz} now: a lock to "
                f"{params.band.min_mhz} to {params.band.max_mhz} MHz shuts nothing out."
            )

    def claims(self, params: LockParams, context: Context) -> Tuple[str, ...]:
        """Name the clocks."""
        return (f"gpu:{uuid_in(gpu_of(params.gpu, context))}:clocks",)

    def capture(self, params: LockParams, context: Context) -> JsonObject:
        """Note the clock now and the declared lock."""
        uuid = uuid_in(gpu_of(params.gpu, context))
        now = clocks(uuid, context)
        lock = None if params.prior_lock is None else params.prior_lock.to_json()
        return {"uuid": uuid, "sm_mhz": now.sm_mhz, "locked": now.locked, "lock": lock}

    def inject(self, params: LockParams, prior: JsonMapping, context: Context) -> None:
        """Lock them."""
        band = params.band
        ask(context, "locked clocks", "set_locked_clocks", uuid_in(prior), band.min_mhz, band.max_mhz)

    def verify(self, params: LockParams, prior: JsonMapping, held: Optional[Held], context: Context) -> JsonObject:  # noqa: ARG002 (contract)
        """See the clock inside the range twice, where it was outside before or the driver now names our setting."""
        uuid = uuid_in(prior)
        before = values.whole(prior, "sm_mhz", 0, 100_000)

        def ours() -> bool:
            now = clocks(uuid, context)
            told = not params.band.holds(before) or (now.locked and not prior.get("locked"))
            return params.band.holds(now.sm_mhz) and told

        seen = wait_until(ours, SEEN_WITHIN_S, 0.1, context)
        context.clock.sleep(INTERVAL_S)
        now = clocks(uuid, context)
        if not (seen and ours()):
            raise Unverified(
                f"The driver said yes to a lock at {params.band.min_mhz} to {params.band.max_mhz} MHz, but the clock "
                f"of GPU {uuid} was {before} before and is {now.sm_mhz} MHz now, which shows nothing. "
                "Put load on the GPU before, so that its clock is outside the range."
            )
        return {"sm_mhz": now.sm_mhz, "prior_sm_mhz": before, "reasons": now.reasons}

    def undo(self, params: LockParams, prior: JsonMapping, context: Context) -> None:
        """Set the declared lock again, or take every lock away."""
        lock = params.prior_lock
        if lock is None:
            try:
                ask(context, "locked clocks", "reset_locked_clocks", uuid_in(prior))
            except Refused:  # where it cannot be taken away, it could not be set either: `restored` looks
                return
        else:
            ask(context, "locked clocks", "set_locked_clocks", uuid_in(prior), lock.min_mhz, lock.max_mhz)

    def restored(self, params: LockParams, prior: JsonMapping, held: Optional[Held], context: Context) -> Restored:  # noqa: ARG002 (contract)
        """See the clock in the declared lock, or no longer held by any setting."""
        uuid, lock = uuid_in(prior), params.prior_lock

        def free() -> bool:
            now = clocks(uuid, context)
            if lock is not None:
                return lock.holds(now.sm_mhz) or bool((now.reasons or 0) & ~SET_BY_USER)
            stuck = now.reasons == 0 and params.band.holds(now.sm_mhz) and now.slow_without_reason
            return not now.locked and not stuck

        clean = wait_until(free, SEEN_WITHIN_S, 0.1, context)
        now = clocks(uuid, context)
        what = "nvidia-smi -rgc" if lock is None else f"nvidia-smi -lgc {lock.min_mhz},{lock.max_mhz}"
        by_hand = f"The clock of GPU {uuid} still is locked at {now.sm_mhz} MHz: run {what} -i {uuid}."
        return Restored(clean, {"sm_mhz": now.sm_mhz, "reasons": now.reasons}, (), "" if clean else by_hand)
