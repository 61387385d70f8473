# SPDX-License-Identifier: Apache-2.0
"""Actions on a Triton server through its own API. They act from the controller and are no host leases (yet)."""

from typing import Any

__all__ = ["load_model", "override_config", "restore_config", "unload_model"]


def load_model(url: str, model: str, timeout_s: float = 30) -> dict[str, Any]:
    """Load a model and wait until Triton lists it as ready: the undo of `unload_model`, not of `override_config`.

    {"name": "load chat", "type": "action", "provider": {"type": "python",
     "module": "chaosgpu.triton.actions", "func": "load_model",
     "arguments": {"url": "http://127.0.0.1:8000", "model": "chat"}}}

    url: http://HOST:PORT. model: its name. timeout_s: seconds, at most 30: a longer load is most likely wedged.
    Returns {"model", "state"}. Raises Refused with Triton's words where the load fails, BadArgument for an unknown
    model, Unreachable, NoGuard without the guard control.
    """
    from chaosgpu.triton import work  # noqa: PLC0415 (validation imports every named module)

    return work.load(url, model, timeout_s)


def unload_model(url: str, model: str, timeout_s: float = 30) -> dict[str, Any]:
    """Unload a model and wait until it is gone; undo it with `load_model` in the rollbacks.

    {"name": "unload chat", "type": "action", "provider": {"type": "python",
     "module": "chaosgpu.triton.actions", "func": "unload_model",
     "arguments": {"url": "http://127.0.0.1:8000", "model": "chat"}}}

    url: http://HOST:PORT. model: its name. timeout_s: seconds, at most 30; running requests are answered first.
    Returns {"model", "state", "before"}. Raises as `load_model`.
    """
    from chaosgpu.triton import work  # noqa: PLC0415

    return work.unload(url, model, timeout_s)


def override_config(  # noqa: PLR0917 (an experiment names them all)
    url: str,
    model: str,
    patch: dict[str, Any],
    timeout_s: float = 30,
    golden: str | None = None,
    configuration: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Change a model's configuration in the running server; undo it with `restore_config` in the rollbacks.

    {"name": "requests wait six seconds for a batch", "type": "action", "provider": {"type": "python",
     "module": "chaosgpu.triton.actions", "func": "override_config",
     "arguments": {"url": "http://127.0.0.1:8000", "model": "chat",
                   "patch": {"parameters": {"base_ms": {"string_value": "500"}}}}}}

    url: http://HOST:PORT. model: its name. patch: values of the model's configuration; objects are merged, lists
    replaced. timeout_s: seconds for the load, at most 30. golden: as in `canary_is_right`.
    The configuration as it was is written to the run's record first. The change is read back: one that Triton took
    without doing it raises FaultUnverified, one that changes nothing Refused, a load that hangs NotRestored.
    Returns {"model", "changed", "saved", "canary"}; `canary` is what the canary says now, null without a known answer.
    """
    from chaosgpu.triton import work  # noqa: PLC0415

    return work.overridden(url, model, patch, timeout_s, golden=golden, configuration=configuration)


def restore_config(
    url: str,
    model: str,
    timeout_s: float = 30,
    golden: str | None = None,
    configuration: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Load the configuration that `override_config` saved in this run, and see it in force. Safe to call twice.

    {"name": "the configuration as it was", "type": "action", "provider": {"type": "python",
     "module": "chaosgpu.triton.actions", "func": "restore_config",
     "arguments": {"url": "http://127.0.0.1:8000", "model": "chat"}}}

    url: http://HOST:PORT. model: its name. timeout_s: seconds, at most 30. golden: as in `canary_is_right`.
    Returns {"model", "restored", "canary"}; `restored` lists what differed. Raises NotRestored where the
    configuration read again still differs, or the canary is not right.
    """
    from chaosgpu.triton import work  # noqa: PLC0415

    return work.restored(url, model, timeout_s, golden, configuration)
