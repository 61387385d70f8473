# SPDX-License-Identifier: Apache-2.0
"""The pipeline's three steps: embed the question, find what is near it, let the generator answer."""

from dataclasses import dataclass

from upstream import Upstream

__all__ = ["Steps"]

_NEAREST = 3
_DATABASE = "/api/v2/tenants/default_tenant/databases/default_database"


@dataclass
class Steps:
    """Embedding and generator are models of Triton, the store is Chroma."""

    embed: Upstream
    store: Upstream
    chat: Upstream
    collection: str
    _id: str | None = None

    async def answer(self, question: str, until_s: float | None) -> dict[str, object]:
        """Answer one question and name the documents that the answer rests on."""
        embedding = _output(await self._infer(until_s, self.embed, "embed", question), "EMBEDDING")
        found = await self._search(until_s, embedding)
        documents = _first(found, "documents")
        prompt = "\n".join([question, *(str(document) for document in documents)])
        text = _output(await self._infer(until_s, self.chat, "chat", prompt), "TEXT")
        return {"answer": text[0], "sources": _first(found, "ids")}

    async def _infer(self, until_s: float | None, upstream: Upstream, model: str, text: str) -> dict[str, object]:
        tokens = list(text.encode())
        tensor = {"name": "TOKENS", "datatype": "INT32", "shape": [1, len(tokens)], "data": tokens}
        return await upstream.call(until_s, "POST", f"/v2/models/{model}/infer", {"inputs": [tensor]})

    async def _search(self, until_s: float | None, embedding: list[object]) -> dict[str, object]:
        if self._id is None:
            found = await self.store.call(until_s, "GET", f"{_DATABASE}/collections/{self.collection}")
            self._id = str(found["id"])
        wanted = {"query_embeddings": [embedding], "n_results": _NEAREST, "include": ["documents"]}
        return await self.store.call(until_s, "POST", f"{_DATABASE}/collections/{self._id}/query", wanted)


def _output(answer: dict[str, object], name: str) -> list[object]:
    outputs = answer.get("outputs")
    for output in outputs if isinstance(outputs, list) else []:
        if output.get("name") == name:
            data = output.get("data")
            return data if isinstance(data, list) else []
    raise ValueError(f"Triton's answer has no output {name}")


def _first(found: dict[str, object], key: str) -> list[object]:
    rows = found.get(key)
    if not isinstance(rows, list) or not rows or not rows[0]:
        raise ValueError(f"the store found nothing ({key})")
    return list(rows[0])
