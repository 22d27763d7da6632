"""Vectors of n-grams: of length 1, forgiving of spelling, the same everywhere."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sartor_plugins.ngrams import NgramsPlugin, NgramsSettings

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

np = pytest.importorskip("numpy")
pytest.importorskip("langchain_core.embeddings")


@pytest.fixture
def embeddings() -> Embeddings:
    return NgramsPlugin(NgramsSettings(), Path()).sartor_embeddings()


def likeness(embeddings: Embeddings, one: str, other: str) -> float:
    return float(np.dot(embeddings.embed_query(one), embeddings.embed_query(other)))


def test_vectors_have_length_one_and_the_width_asked_for() -> None:
    embeddings = NgramsPlugin(NgramsSettings(width=512), Path()).sartor_embeddings()
    vectors = embeddings.embed_documents(["Delivery takes three days.", "a", "你好"])
    assert [len(vector) for vector in vectors] == [512] * 3
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1.0] * 3, abs=1e-6)


def test_text_without_a_word_is_zero(embeddings: Embeddings) -> None:
    assert not any(embeddings.embed_query(" … ?!"))


def test_accents_case_and_inflection_are_forgiven(embeddings: Embeddings) -> None:
    assert likeness(embeddings, "Été à Besançon", "ETE A BESANCON") == pytest.approx(1.0, abs=1e-6)
    assert likeness(embeddings, "refunding", "refunds") > 0.35
    assert likeness(embeddings, "reimbursment", "reimbursement") > 0.6
    assert abs(likeness(embeddings, "refund", "tomorrow")) < 0.15


def test_common_words_count_little(embeddings: Embeddings) -> None:
    same_rare = likeness(embeddings, "what is the warranty", "a warranty of two years")
    same_common = likeness(embeddings, "what is the warranty", "what is the weather")
    assert same_rare > same_common


def test_the_same_vector_in_every_process(embeddings: Embeddings) -> None:
    code = (
        "from pathlib import Path; import hashlib, json\n"
        "from sartor_plugins.ngrams import NgramsPlugin, NgramsSettings\n"
        "vector = NgramsPlugin(NgramsSettings(), Path()).sartor_embeddings().embed_query('Delivery in three days')\n"
        "print(hashlib.sha256(repr([round(x, 6) for x in vector]).encode()).hexdigest())"
    )
    paths = os.pathsep.join(path for path in sys.path if path)
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": paths}
    said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    here = [round(x, 6) for x in embeddings.embed_query("Delivery in three days")]
    assert said.stdout.strip() == hashlib.sha256(repr(here).encode()).hexdigest()


async def test_asynchronous_calls_give_the_same(embeddings: Embeddings) -> None:
    assert await embeddings.aembed_query("Delivery") == embeddings.embed_query("Delivery")
