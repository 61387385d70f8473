# SPDX-License-Identifier: Apache-2.0
"""Tensors as the inference protocol's binary extension carries them, with the standard library alone."""

import math
import random
import struct
from dataclasses import dataclass

from chaosgpu.errors import BadArgument, Unreachable
from chaosgpu.fleet.values import JsonObject, JsonValue

__all__ = ["Tensor", "decode", "elements", "encode", "seeded", "tensor_from_json", "tensor_to_json"]

Scalar = bool | int | float | str

# Datatype of the protocol: struct code. BF16 has none: it is the upper half of an FP32.
_CODES = {
    "BOOL": "?", "INT8": "b", "INT16": "h", "INT32": "i", "INT64": "q",
    "UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q", "FP16": "e", "FP32": "f", "FP64": "d",
}  # fmt: skip
_WORDS = ("rack", "node", "card", "fan", "rail", "power", "heat", "clock")


@dataclass(frozen=True)
class Tensor:
    """A named, typed, shaped list of values in row order; BYTES are text."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: tuple[Scalar, ...]

    def rows(self, order: list[int]) -> "Tensor":
        """Return the same tensor with its rows in another order."""
        width = len(self.values) // self.shape[0]
        values = tuple(value for row in order for value in self.values[row * width : (row + 1) * width])
        return Tensor(self.name, self.datatype, self.shape, values)


def elements(shape: tuple[int, ...]) -> int:
    """Count the elements of a shape."""
    return math.prod(shape)


def encode(tensor: Tensor) -> bytes:
    """Encode values as little-endian bytes."""
    if tensor.datatype == "BYTES":
        texts = [str(value).encode() for value in tensor.values]
        return b"".join(struct.pack("<I", len(text)) + text for text in texts)
    if tensor.datatype == "BF16":
        return b"".join(struct.pack("<f", value)[2:] for value in tensor.values)
    return struct.pack(f"<{len(tensor.values)}{_CODES[tensor.datatype]}", *tensor.values)


def decode(name: str, datatype: str, shape: tuple[int, ...], raw: bytes) -> Tensor:
    """Decode what a server sent; a length that does not fit the shape is the server's error and said so."""
    count = elements(shape)
    values: tuple[Scalar, ...]
    try:
        if datatype == "BYTES":
            values = _decode_texts(raw)
        elif datatype == "BF16":
            halves = [b"\0\0" + raw[at : at + 2] for at in range(0, len(raw), 2)]
            values = tuple(struct.unpack("<f", half)[0] for half in halves)
        else:
            values = struct.unpack(f"<{count}{_CODES[datatype]}", raw)
    except (KeyError, struct.error, UnicodeDecodeError) as error:
        raise Unreachable(
            f"output {name}: {len(raw)} bytes are no {datatype} tensor of shape {list(shape)}."
        ) from error
    if len(values) != count:
        raise Unreachable(f"output {name}: {len(values)} values came back for shape {list(shape)}.")
    return Tensor(name, datatype, shape, values)


def _decode_texts(raw: bytes) -> tuple[str, ...]:
    texts = []
    at = 0
    while at < len(raw):
        (length,) = struct.unpack_from("<I", raw, at)
        text = raw[at + 4 : at + 4 + length]
        if len(text) != length:
            raise struct.error
        texts.append(text.decode())
        at += 4 + length
    return tuple(texts)


def seeded(name: str, datatype: str, shape: tuple[int, ...], rng: random.Random) -> Tensor:
    """Make values that most models accept: reals near zero, small whole numbers, short words."""
    count = elements(shape)
    values: tuple[Scalar, ...]
    if datatype == "BYTES":
        values = tuple(" ".join(rng.choices(_WORDS, k=3)) for _ in range(count))
    elif datatype == "BOOL":
        values = tuple(rng.random() < 0.5 for _ in range(count))  # noqa: PLR2004 (a fair coin)
    elif datatype in ("FP16", "BF16", "FP32", "FP64"):
        drawn = [max(-3.0, min(3.0, rng.gauss(0.0, 1.0))) for _ in range(count)]
        # Rounded through the wire's own precision, so that what is kept is what was sent.
        made = Tensor(name, datatype, shape, tuple(drawn))
        values = decode(name, datatype, shape, encode(made)).values
    elif datatype in _CODES:
        values = tuple(rng.randint(0, 100) for _ in range(count))
    else:
        raise BadArgument(f"input {name} has the datatype {datatype!r}, which the binary extension does not name.")
    return Tensor(name, datatype, shape, values)


def tensor_to_json(tensor: Tensor) -> JsonObject:
    """Write a tensor into a golden file."""
    values: list[JsonValue] = list(tensor.values)
    shape: list[JsonValue] = list(tensor.shape)
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": shape, "data": values}


def tensor_from_json(source: JsonValue, where: str) -> Tensor:
    """Read a tensor from a golden file; anything else than a well-formed one is refused."""
    if isinstance(source, dict):
        name, datatype, shape, data = (source.get(key) for key in ("name", "datatype", "shape", "data"))
        if isinstance(name, str) and isinstance(datatype, str) and isinstance(shape, list) and isinstance(data, list):
            sizes = tuple(size for size in shape if isinstance(size, int) and size >= 0)
            values = tuple(value for value in data if isinstance(value, (bool, int, float, str)))
            known = datatype in _CODES or datatype in ("BYTES", "BF16")
            if known and len(sizes) == len(shape) and len(values) == len(data) == elements(sizes):
                return Tensor(name, datatype, sizes, values)
    raise BadArgument(f"{where} holds a tensor that is not well formed; learn the canary again.")
