"""Vectors from a GGUF model in this process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import pytest
from langchain_core.embeddings import Embeddings
from langchain_tests.integration_tests import EmbeddingsIntegrationTests
from sartor.errors import ModelError, OverloadedError
from sartor_plugins.llama import LlamaEmbeddingsPlugin
from sartor_plugins.llama.embeddings import LlamaEmbeddings
from sartor_plugins.llama.settings import EmbeddingsSettings

Make = Callable[..., Embeddings]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    made = []

    def embeddings(path: Path, **settings: object) -> Embeddings:
        told = LlamaEmbeddingsPlugin.Settings.model_validate({"path": str(path), "probe": False, **settings})
        made.append(LlamaEmbeddingsPlugin(told, Path("/")).sartor_embeddings())
        return made[-1]

    yield embeddings
    for one in made:
        await one.close()


async def test_vectors_have_length_one_and_do_not_depend_on_the_batch(make: Make, random_model: Path) -> None:
    embeddings = make(random_model)
    texts = [f"Text number {number}: " + "word " * (number % 13) for number in range(50)]
    together = np.array(await embeddings.aembed_documents(texts))
    assert together.shape == (50, 64)
    assert np.linalg.norm(together, axis=1) == pytest.approx(1.0, abs=1e-5)
    alone = np.array([await embeddings.aembed_query(text) for text in texts[:5]])
    assert np.abs(together[:5] - alone).max() < 1e-2
    assert (together[0] @ together[1:].T).max() < 0.9999


async def test_texts_without_end_and_without_content(make: Make, random_model: Path) -> None:
    embeddings = make(random_model, context=64)
    long, longer, empty, odd = await embeddings.aembed_documents(
        ["word " * 2_000, "word " * 20_000, "", "<|end|>\x00\ud800"]
    )
    assert long == pytest.approx(longer, abs=1e-2)
    assert np.isfinite([empty, odd]).all()
    assert await embeddings.aembed_documents([]) == []


async def test_prefixes_tell_questions_from_passages(make: Make, random_model: Path) -> None:
    plain = make(random_model)
    embeddings = make(random_model, query_prefix="query: ", document_prefix="passage: ")
    assert await embeddings.aembed_query("a") == await plain.aembed_query("query: a")
    assert embeddings.embed_documents(["a"])[0] == plain.embed_query("passage: a")


async def test_many_callers(make: Make, random_model: Path) -> None:
    embeddings = make(random_model)
    one = await embeddings.aembed_query("Hi")
    threads = (asyncio.to_thread(embeddings.embed_query, "Hi") for _ in range(8))
    found = await asyncio.gather(*threads, *(embeddings.aembed_query("Hi") for _ in range(8)))
    assert np.abs(np.array(found) - one).max() < 1e-2
    assert sum(thread.name.startswith("llama-embeddings") for thread in threading.enumerate()) == 1


async def test_who_has_much_keeps_nobody_waiting(make: Make, random_model: Path) -> None:
    embeddings = make(random_model)
    await embeddings.aembed_query("Hi")
    done: list[str] = []

    async def one(name: str, texts: list[str]) -> None:
        assert len(await embeddings.aembed_documents(texts)) == len(texts)
        done.append(name)

    much = asyncio.create_task(one("much", ["word " * 60] * 300))
    await asyncio.sleep(0)
    await asyncio.gather(*(one("little", [f"Text {n}", "Hi"]) for n in range(20)))
    assert done == ["little"] * 20
    await much


async def test_too_many_are_refused(make: Make, random_model: Path) -> None:
    embeddings = make(random_model)
    found = await asyncio.gather(*(embeddings.aembed_query("Hi") for _ in range(600)), return_exceptions=True)
    refused = [one for one in found if isinstance(one, OverloadedError)]
    assert refused and refused[0].retry_after > 0
    assert len(await embeddings.aembed_query("Hi")) == 64


async def test_the_same_vectors_in_a_batch_as_alone_in_order(make: Make, random_model: Path) -> None:
    embeddings = make(random_model)
    texts = [f"{'word ' * (n % 7)}number {n}" for n in range(40)]
    alone = np.array([await embeddings.aembed_query(text) for text in texts])
    split = await asyncio.gather(*(embeddings.aembed_documents(texts[at : at + 8]) for at in range(0, 40, 8)))
    together = np.array([vector for part in split for vector in part])
    assert (together * alone).sum(axis=1).min() > 1 - 1e-3


async def test_cancelling_leaves_it_usable(make: Make, random_model: Path) -> None:
    embeddings = make(random_model)
    task = asyncio.create_task(embeddings.aembed_documents(["word " * 300] * 500))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(await embeddings.aembed_query("Hi")) == 64


async def test_a_missing_file(make: Make, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nothere\.gguf"):
        await make(tmp_path / "nothere.gguf").aembed_query("Hi")


class TestStandard(EmbeddingsIntegrationTests):
    """LangChain's suite."""

    @property
    def embeddings_class(self) -> type[Embeddings]:
        return LlamaEmbeddings

    @pytest.fixture
    def model(self, random_model: Path) -> LlamaEmbeddings:
        return LlamaEmbeddings(EmbeddingsSettings(path=str(random_model), probe=False), Path("/"))
