"""Tests of plugins that give retrievers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from sartor.building import retrievers_of
from sartor.plugins import PluginSet
from sartor.retrieval import Retriever
from sartor.testing.suites.base import ODD_TEXTS, run
from sartor.testing.suites.isolation import IsolationSuite
from sartor.values import Passage

__all__ = ["RetrieverSuite"]


class RetrieverSuite(IsolationSuite):
    """Tests of retrievers: whose passages they give, how many, in which order, and for which odd questions."""

    hooks: ClassVar[Sequence[str]] = ("sartor_retrievers",)
    queries: ClassVar[Sequence[str]] = ()
    """Questions for which there is something."""
    unknown: ClassVar[Sequence[str]] = ()
    """Questions for which there is nothing."""

    @pytest.fixture
    def retrievers(self, tmp_path: Path) -> list[Retriever]:
        """The retrievers of one bot."""
        return self.retrievers_for(tmp_path, "acme")

    def retrievers_for(self, root: Path, tenant: str) -> list[Retriever]:
        """The retrievers of the bot ``tenant/support``."""
        return retrievers_of(PluginSet([self.make(self.folder(root, tenant))]), self.info(root, tenant))

    async def find(self, retrievers: Sequence[Retriever], query: str, limit: int = 4, **turn: str) -> list[Passage]:
        """What all of them find."""
        found: list[Passage] = []
        for retriever in retrievers:
            given = await retriever.retrieve(self.turn(query, **turn), query, limit)  # type: ignore[arg-type]
            assert len(given) <= limit, f"{len(given)} passages, where at most {limit} were asked for"
            found += given
        return found

    def test_there_are_retrievers(self, retrievers: list[Retriever]) -> None:
        self.need(retrievers, "settings with which it gives retrievers")

    def test_it_finds_something(self, retrievers: list[Retriever]) -> None:
        self.need(self.queries, "questions for which there is something, in `queries`")
        for query in self.queries:
            assert run(self.find(retrievers, query)), f"nothing found for {query!r}"

    def test_it_finds_nothing_where_there_is_nothing(self, retrievers: list[Retriever]) -> None:
        for query in self.unknown:
            assert not run(self.find(retrievers, query)), f"something found for {query!r}"

    def test_passages_are_whole(self, retrievers: list[Retriever]) -> None:
        self.need(self.queries, "questions for which there is something, in `queries`")
        for query in self.queries:
            found = run(self.find(retrievers, query))
            for passage in found:
                assert isinstance(passage, Passage), f"a {type(passage).__name__}, not a Passage"
                assert passage.tenant == "acme", f"a passage of {passage.tenant!r} for a turn of 'acme'"
                assert passage.id and passage.source and passage.text.strip(), f"id, source or text is empty: {passage}"
                assert 0 <= passage.score <= 1, f"the score of {passage.id} is {passage.score}, not between 0 and 1"
            assert len({passage.id for passage in found}) == len(found), f"two passages of one id for {query!r}"

    def test_the_best_comes_first(self, retrievers: list[Retriever]) -> None:
        for query in self.queries:
            for retriever in retrievers:
                scores = [passage.score for passage in run(self.find([retriever], query, 10))]
                assert scores == sorted(scores, reverse=True), f"not the best first for {query!r}: {scores}"

    @pytest.mark.parametrize("limit", [1, 2])
    def test_the_limit_holds(self, retrievers: list[Retriever], limit: int) -> None:
        for query in self.queries:
            run(self.find(retrievers, query, limit))

    def test_odd_questions_raise_nothing(self, retrievers: list[Retriever]) -> None:
        for odd in ODD_TEXTS:
            run(self.find(retrievers, odd))

    def test_the_same_question_finds_the_same(self, retrievers: list[Retriever]) -> None:
        for query in self.queries:
            first, second = run(self.find(retrievers, query)), run(self.find(retrievers, query))
            assert [passage.id for passage in first] == [passage.id for passage in second]

    def test_many_at_once_find_what_each_finds_alone(self, retrievers: list[Retriever]) -> None:
        async def together() -> list[list[Passage]]:
            return await asyncio.gather(*(self.find(retrievers, query) for query in [*self.queries] * 3))

        alone = [[passage.id for passage in run(self.find(retrievers, query))] for query in self.queries]
        assert [[passage.id for passage in found] for found in run(together())] == alone * 3

    def test_each_tenant_is_given_its_own(self, tmp_path: Path) -> None:
        for tenant in ("acme", "borealis"):
            retrievers = self.retrievers_for(tmp_path, tenant)
            for query in self.queries:
                found = run(self.find(retrievers, query, tenant=tenant))
                assert {passage.tenant for passage in found} <= {tenant}
