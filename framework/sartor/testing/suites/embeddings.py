"""Tests of plugins that give embeddings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, cast

import pytest

from sartor.plugin import Plugin
from sartor.plugins import PluginSet
from sartor.testing.suites.base import ODD_TEXTS, PluginSuite, run

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

__all__ = ["EmbeddingsSuite"]


class EmbeddingsSuite(PluginSuite):
    """Tests of embeddings: vectors of one length, the same for the same text, near for texts that are alike."""

    hooks: ClassVar[Sequence[str]] = ("sartor_embeddings",)

    @pytest.fixture
    def embeddings(self, made: Plugin) -> Embeddings:
        """What the plugin gives."""
        return cast("Embeddings", next(PluginSet([made]).ask("sartor_embeddings"))[1])

    def test_vectors_have_one_length_and_numbers_only(self, embeddings: Embeddings) -> None:
        texts = ["A parcel.", "Two parcels, three letters.", "x"]
        vectors = [*run(embeddings.aembed_documents(texts)), run(embeddings.aembed_query("A parcel?"))]
        assert len({len(vector) for vector in vectors}) == 1
        assert all(math.isfinite(number) for vector in vectors for number in vector)

    def test_the_same_text_has_the_same_vector(self, embeddings: Embeddings) -> None:
        first, second = run(embeddings.aembed_documents(["A parcel.", "A parcel."]))
        again = run(embeddings.aembed_documents(["A parcel."]))[0]
        assert _cosine(first, second) > 0.999 and _cosine(first, again) > 0.999

    def test_texts_that_are_alike_are_near(self, embeddings: Embeddings) -> None:
        texts = ["The parcel is delivered on Monday.", "Giraffes eat acacia leaves."]
        near, far = run(embeddings.aembed_documents(texts))
        asked = run(embeddings.aembed_query("When is the parcel delivered?"))
        assert _cosine(asked, near) > _cosine(asked, far)

    def test_nothing_to_embed_is_no_error(self, embeddings: Embeddings) -> None:
        assert run(embeddings.aembed_documents([])) == []

    def test_odd_texts_raise_nothing(self, embeddings: Embeddings) -> None:
        for odd in ODD_TEXTS:
            assert all(math.isfinite(number) for number in run(embeddings.aembed_query(odd)))
        assert len(run(embeddings.aembed_documents(list(ODD_TEXTS)))) == len(ODD_TEXTS)


def _cosine(one: Sequence[float], other: Sequence[float]) -> float:
    lengths = math.hypot(*one) * math.hypot(*other)
    return sum(a * b for a, b in zip(one, other, strict=True)) / lengths if lengths else 0.0
