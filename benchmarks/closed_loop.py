# SPDX-License-Identifier: Apache-2.0
"""The generator's own connections and judges in a closed loop: how fast it could be, beside tools that are one."""

import asyncio
import random
from collections.abc import Sequence

from chaosgpu.traffic.clockwork import precise_loop
from chaosgpu.traffic.connection import Broken, Connection
from chaosgpu.traffic.prompt import Prompt, Reply

__all__ = ["closed_rate"]


def closed_rate(address: tuple[str, int], prompts: Sequence[Prompt], connections: int, seconds: float) -> float:
    """Return right answers a second where each connection sends the next request when its last was answered."""
    loop, rng, right = precise_loop(), random.Random(1), 0  # noqa: S311 (an order of requests, not a secret)
    failed: list[str] = []

    def send(connection: Connection) -> None:
        prompt = rng.choice(prompts)

        def ended(this: Connection, how: Reply | Broken) -> None:
            nonlocal right
            if isinstance(how, Broken) or how.status != prompt.wanted_status:
                failed.append(str(how))
                return
            right += prompt.why_wrong(how) is None
            send(this)

        connection.send(prompt.request, ended)

    async def run() -> None:
        opened = [await loop.create_connection(Connection, *address) for _ in range(connections)]
        for _, connection in opened:
            send(connection)
        await asyncio.sleep(seconds)
        for _, connection in opened:
            connection.abort()

    try:
        loop.run_until_complete(run())
    finally:
        loop.close()
    if failed:
        raise ValueError(f"{len(failed)} requests went wrong, the first one: {failed[0]}")
    return right / seconds
