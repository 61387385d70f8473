# SPDX-License-Identifier: Apache-2.0
"""gpu.persistence.off: the driver lets go of the GPU with its last process, and forgets what was set on it."""

from dataclasses import dataclass
from typing import List, Optional, Tuple

from chaosgpu.agent import values
from chaosgpu.agent.errors import DriverFailed, Refused
from chaosgpu.agent.faults.clocks import Band, clocks, parse_prior_lock, refuse_foreign_lock
from chaosgpu.agent.faults.contract import Context, Held, Restored
from chaosgpu.agent.faults.on_gpu import GPU_KEYS, OnGpu, ask, gpu_of, parse_gpu, uuid_in, whole_answer
from chaosgpu.agent.faults.setting import GpuSetting
from chaosgpu.agent.values import JsonMapping, JsonObject, JsonValue

COHERENT = ("GH200", "GB200", "GB300")


@dataclass(frozen=True)
class PersistenceParams(OnGpu):
    """Which lock of the clocks is in force by declaration: it is lost with the rest."""

    prior_lock: Optional[Band]


class PersistenceOff(GpuSetting[PersistenceParams]):
    """The persistence mode."""

    name = "gpu.persistence.off"
    summary = "Turns persistence off: when the last process leaves, the GPU shuts down and forgets its settings."
    setting = "persistence mode"
    resource = "persistence"
    setter = "set_persistence"
    claimed = "the GPU's persistence mode, power limit, clocks and compute mode, since all of them may go"
    refuses = "coherent products (GH200, GB200, GB300), where it cuts the GPU off; clocks locked by somebody undeclared"
    traps = (
        "Nothing happens as long as a process has the GPU. When the last one leaves, power limit, clocks and compute "
        "mode are reset; undo puts them back as they were captured. A lock of the clocks cannot be captured: declare "
        "it as prior_lock. A target temperature, a fan speed and a lock of the memory clocks go too and are not "
        "captured. "
        "The daemon nvidia-persistenced may hold the GPU whatever the mode says."
    )

    def parse(self, raw: JsonMapping) -> PersistenceParams:
        """Read the values alone."""
        values.only(raw, self.name, GPU_KEYS | {"prior_lock"})
        return PersistenceParams(parse_gpu(raw), parse_prior_lock(raw))

    def goal(self, params: PersistenceParams) -> int:  # noqa: ARG002 (contract)
        """Return off."""
        return 0

    def now(self, uuid: str, context: Context) -> int:
        """Return 1 where it is on."""
        return whole_answer({"mode": ask(context, "persistence mode", "setting_persistence", uuid)}, "mode")

    def shown(self, value: int) -> JsonObject:
        """Return it as a flag."""
        return {"persistence": bool(value)}

    def said(self, value: int) -> str:
        """Return it as a word."""
        return "on" if value else "off"

    def allow(self, params: PersistenceParams, uuid: str, context: Context) -> None:
        """Refuse coherent products and a lock that would be lost."""
        product = str(gpu_of(params.gpu, context).get("name"))
        if any(word in product for word in COHERENT):
            raise Refused(f"GPU {uuid} is a {product}: with persistence off its handle becomes invalid.")
        refuse_foreign_lock(uuid, clocks(uuid, context), params.prior_lock)

    def claims(self, params: PersistenceParams, context: Context) -> Tuple[str, ...]:
        """Name the mode and everything that may go with it."""
        uuid = uuid_in(gpu_of(params.gpu, context))
        return tuple(f"gpu:{uuid}:{what}" for what in ("persistence", "power_limit", "clocks", "compute_mode"))

    def capture(self, params: PersistenceParams, context: Context) -> JsonObject:
        """Read the mode and what may go with it."""
        prior = super().capture(params, context)
        lock = None if params.prior_lock is None else params.prior_lock.to_json()
        others: List[JsonValue] = [{"name": one.name, **one.read(uuid_in(prior), context)} for one in _GOES_WITH_IT]
        return {**prior, "lock": lock, "goes_with_it": others}

    def undo(self, params: PersistenceParams, prior: JsonMapping, context: Context) -> None:
        """Turn it on again, then put back what went with it; a person's later change is left alone."""
        super().undo(params, prior, context)
        uuid = uuid_in(prior)
        for one, before in _captured(prior):
            before_differs = before["value"] != before["default"]
            if before_differs and one.value(uuid, context) == before["default"]:
                ask(context, f"setting the {one.name}", one.setter, uuid, before["value"])
        if params.prior_lock is not None:
            lock = params.prior_lock
            ask(context, "locked clocks", "set_locked_clocks", uuid, lock.min_mhz, lock.max_mhz)

    def restored(
        self, params: PersistenceParams, prior: JsonMapping, held: Optional[Held], context: Context
    ) -> Restored:
        """Compare the mode and what may go with it with what was captured."""
        mode = super().restored(params, prior, held, context)
        clean, left_alone, by_hand, shown = mode.clean, list(mode.left_alone), [mode.by_hand], dict(mode.values)
        for one, before in _captured(prior):
            present, uuid = one.value(uuid_in(prior), context), uuid_in(prior)
            shown[one.name.replace(" ", "_")] = present
            if present == before["value"]:
                continue
            if present == before["default"]:
                clean = False
                by_hand.append(f"The {one.name} of GPU {uuid} went back to {present}: set it to {before['value']}.")
            else:
                left_alone.append(f"{one.name} of GPU {uuid}: somebody has set {present} since; not overwritten")
        return Restored(clean, shown, tuple(left_alone), " ".join(text for text in by_hand if text))


@dataclass(frozen=True)
class _Other:
    """A setting that is lost when the GPU shuts down; values as the driver counts them."""

    name: str
    getter: str
    setter: str

    def read(self, uuid: str, context: Context) -> JsonObject:
        """Return the value in force and the one it falls back to; null where the product has none."""
        try:
            answer = ask(context, f"a {self.name}", self.getter, uuid)
        except Refused:
            return {"value": None, "default": None}
        if isinstance(answer, dict):
            return {"value": answer.get("limit_mw"), "default": answer.get("default_mw")}
        return {"value": answer, "default": 0}

    def value(self, uuid: str, context: Context) -> JsonValue:
        """Return the value in force."""
        return self.read(uuid, context)["value"]


_GOES_WITH_IT = (
    _Other("power limit", "setting_power", "set_power_limit"),
    _Other("compute mode", "setting_compute_mode", "set_compute_mode"),
)


def _captured(prior: JsonMapping) -> List[Tuple[_Other, JsonObject]]:
    entries = prior.get("goes_with_it")
    if not isinstance(entries, list):
        raise DriverFailed("The record does not say what may have gone with the persistence mode.")
    found = {str(entry.get("name")): entry for entry in entries if isinstance(entry, dict)}
    return [(one, found[one.name]) for one in _GOES_WITH_IT if one.name in found]
