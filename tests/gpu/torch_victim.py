# SPDX-License-Identifier: Apache-2.0
"""What `victim.py lines` is, as a PyTorch program: run by the interpreter that has torch, without this package.

Its answers are matrix products of whole numbers, which must be equal to the processor's to the last bit.
"""

import importlib
import json
import mmap
import select
import sys
from pathlib import Path
from typing import Any

torch: Any = importlib.import_module("torch")
MIB = 1 << 20
SIDE = 512
OUT_OF_MEMORY = 2


def product(seed: int, device: str) -> Any:
    """Multiply two matrices of small whole numbers."""
    numbers = torch.Generator().manual_seed(seed)
    left, right = (torch.randint(-8, 8, (SIDE, SIDE), generator=numbers).double().to(device) for _ in range(2))
    return (left @ right).cpu()


def do(order: dict[str, int | str], taken: list[Any]) -> dict[str, object]:
    """Carry out one order."""
    mib = int(order.get("mib", 0))
    try:
        if order["do"] == "take":
            taken.append(torch.full((mib * MIB,), 90, dtype=torch.uint8, device="cuda"))
            torch.cuda.synchronize()
        elif order["do"] == "give":
            taken.pop()
            torch.cuda.empty_cache()
        elif order["do"] == "answer":
            scratch = torch.empty(mib * MIB, dtype=torch.uint8, device="cuda")
            seed = int(order.get("seed", 1))
            right = bool(torch.equal(product(seed, "cuda"), product(seed, "cpu")))
            del scratch
            torch.cuda.empty_cache()
            return {"right": right, "code": 0}
        elif order["do"] == "free":
            return {"free_mib": torch.cuda.mem_get_info()[0] // MIB, "code": 0}
    except torch.cuda.OutOfMemoryError as error:
        torch.cuda.empty_cache()
        return {"code": OUT_OF_MEMORY, "why": str(error)[:200], "right": False}
    return {"code": 0}


def main(count_file: str) -> None:
    """Obey until standard input ends."""
    do({"do": "answer", "mib": 16}, [])  # libraries and workspaces come with the first product
    with Path(count_file).open("r+b") as file:
        count = mmap.mmap(file.fileno(), 8)
    sys.stdout.write('{"ready": true}\n')
    sys.stdout.flush()
    taken: list[Any] = []
    working, done = False, 0
    while True:
        if select.select([sys.stdin], [], [], 0 if working else None)[0]:
            line = sys.stdin.readline()
            if not line:
                return
            order = json.loads(line)
            working = order["do"] == "work" or (working and order["do"] != "rest")
            sys.stdout.write(json.dumps(do(order, taken)) + "\n")
            sys.stdout.flush()
        elif working:
            product(done, "cuda")
            done += 1
            count[:] = done.to_bytes(8, "little")


if __name__ == "__main__":
    main(sys.argv[2])
