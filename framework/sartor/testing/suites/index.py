"""Tests of plugins that give search indexes."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

import pytest

from sartor.plugins import PluginSet
from sartor.retrieval import Index
from sartor.testing.suites.base import ODD_TEXTS, PluginSuite, run
from sartor.values import BotInfo, Chunk, Hit

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

__all__ = ["IndexSuite"]

TEXTS = {
    "delivery": "We bring every parcel within three working days.",
    "returns": "You may send back an article within thirty days of buying it.",
    "warranty": "Batteries are guaranteed for two years after the purchase.",
    "hours": "The shop in Lyon is open from nine to six, except on Sunday.",
}


class IndexSuite(PluginSuite):
    """Tests of search indexes: what is added is found and what is removed is not, by its own bot and no other."""

    hooks: ClassVar[Sequence[str]] = ("sartor_index",)
    persistent: ClassVar[bool] = True
    """Whether an index is there again when the process is: made anew from the bot's folder for data."""

    def embeddings(self) -> Embeddings | None:
        """What the index is given to turn texts into vectors; None: it finds by words alone."""
        return None

    def index_for(self, root: Path, tenant: str = "acme", bot: str = "support") -> Index:
        """The index of one bot, from a plugin object of its own."""
        plugins = PluginSet([self.make(self.folder(root, tenant))])
        info = BotInfo(tenant, bot, root / "tenants" / tenant / bot, root / "data" / tenant)
        for _, index in plugins.ask("sartor_index", bot=info, embeddings=self.embeddings()):
            return cast("Index", index)
        raise AssertionError("it gives no index")

    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        """Where the data of all bots lies."""
        return tmp_path

    def chunks(
        self, *names: str, tenant: str = "acme", bot: str = "support", audience: str = "", mark: str = ""
    ) -> list[Chunk]:
        """Chunks with the texts of these names, or of all."""
        return [
            Chunk(f"{mark}{name}", tenant, bot, f"{name}.md", name.title(), TEXTS[name], number, audience)
            for number, name in enumerate(names or TEXTS)
        ]

    def do(self, index: Index, work: Coroutine[object, object, None]) -> None:
        """Run a test's steps, and close the index."""

        async def all_of_it() -> None:
            try:
                await work
            finally:
                await index.close()

        run(all_of_it())

    def check(self, hits: Sequence[Hit], limit: int) -> list[str]:
        """The ids of `hits`, which must be sound."""
        scores = [hit.score for hit in hits]
        assert len(hits) <= limit, f"{len(hits)} hits, where at most {limit} were asked for"
        assert scores == sorted(scores, reverse=True), f"not the best first: {scores}"
        assert all(0 <= score <= 1 for score in scores), f"scores are not between 0 and 1: {scores}"
        ids = [hit.chunk for hit in hits]
        assert len(set(ids)) == len(ids), f"a chunk is found twice: {ids}"
        return ids

    def test_what_was_added_is_found(self, root: Path) -> None:
        index = self.index_for(root)

        async def work() -> None:
            assert await index.ids() == frozenset() and not await index.search("parcel", 3)
            await index.add(self.chunks())
            assert await index.ids() == set(TEXTS)
            for query, name in (("parcel", "delivery"), ("batteries guaranteed", "warranty"), ("Lyon", "hours")):
                assert self.check(await index.search(query, 3), 3)[:1] == [name], query
            assert len(self.check(await index.search("within days", 1), 1)) == 1

        self.do(index, work())

    def test_adding_again_replaces(self, root: Path) -> None:
        index = self.index_for(root)

        async def work() -> None:
            await index.add(self.chunks())
            await index.add([Chunk("delivery", "acme", "support", "a.md", "A", "Giraffes eat acacia leaves.", 0)])
            assert await index.ids() == set(TEXTS)
            assert self.check(await index.search("giraffes acacia", 2), 2)[0] == "delivery"
            assert "delivery" not in self.check(await index.search("parcel", 3), 3)[:1]

        self.do(index, work())

    def test_what_was_removed_is_not_found(self, root: Path) -> None:
        index = self.index_for(root)

        async def work() -> None:
            await index.add([])
            await index.remove([])
            await index.add(self.chunks())
            await index.remove(["delivery", "no-such-chunk"])
            assert await index.ids() == set(TEXTS) - {"delivery"}
            assert "delivery" not in self.check(await index.search("parcel working days", 4), 4)
            await index.clear()
            assert await index.ids() == frozenset() and not await index.search("Lyon", 3)
            await index.add(self.chunks("hours"))
            assert self.check(await index.search("Lyon", 3), 3) == ["hours"]

        self.do(index, work())

    def test_an_audience_finds_its_own_and_what_is_for_all(self, root: Path) -> None:
        index = self.index_for(root)

        async def work() -> None:
            await index.add(self.chunks("delivery"))
            await index.add(self.chunks("delivery", audience="business", mark="b-"))
            await index.add(self.chunks("delivery", audience="staff", mark="s-"))
            found = {who: set(self.check(await index.search("parcel", 9, who), 9)) for who in ("", "business")}
            assert found == {"": {"delivery"}, "business": {"delivery", "b-delivery"}}

        self.do(index, work())

    def test_what_was_said_before_helps(self, root: Path) -> None:
        index = self.index_for(root)

        async def work() -> None:
            await index.add(self.chunks())
            found = self.check(await index.search("And on Sunday?", 4, before="When is the shop in Lyon open?"), 4)
            assert found[:1] == ["hours"]

        self.do(index, work())

    def test_odd_questions_raise_nothing(self, root: Path) -> None:
        index = self.index_for(root)

        async def work() -> None:
            await index.add(self.chunks())
            for odd in ODD_TEXTS:
                self.check(await index.search(odd, 3, before=odd), 3)

        self.do(index, work())

    def test_it_opens_again_after_it_was_closed(self, root: Path) -> None:
        index = self.index_for(root)

        async def work() -> None:
            await index.add(self.chunks())
            await index.close()
            await index.close()
            assert await index.ids() == set(TEXTS)

        self.do(index, work())
        if self.persistent:
            again = self.index_for(root)

            async def more() -> None:
                assert await again.ids() == set(TEXTS)
                assert self.check(await again.search("Lyon", 1), 1) == ["hours"]

            self.do(again, more())

    @pytest.mark.parametrize(("tenant", "bot"), [("acme", "sales"), ("borealis", "support")])
    def test_another_bot_and_another_tenant_see_and_touch_nothing(self, root: Path, tenant: str, bot: str) -> None:
        plugins = PluginSet([self.make(self.folder(root, "acme"))])

        def of(tenant: str, bot: str) -> Index:
            info = BotInfo(tenant, bot, root / "tenants" / tenant / bot, root / "data" / tenant)
            return cast("Index", next(plugins.ask("sartor_index", bot=info, embeddings=self.embeddings()))[1])

        ours, theirs = of("acme", "support"), of(tenant, bot)

        async def work() -> None:
            await ours.add(self.chunks())
            assert await theirs.ids() == frozenset() and not await theirs.search("parcel", 3)
            await theirs.add(self.chunks("hours", tenant=tenant, bot=bot))
            await theirs.remove(["delivery"])
            assert self.check(await theirs.search("parcel Lyon", 9), 9) in ([], ["hours"])
            await theirs.clear()
            assert await ours.ids() == set(TEXTS)
            assert self.check(await ours.search("parcel", 3), 3)[:1] == ["delivery"]
            await theirs.close()

        self.do(ours, work())

    def test_many_at_once_disturb_nobody(self, root: Path) -> None:
        index = self.index_for(root)

        async def work() -> None:
            await index.add(self.chunks("hours"))
            adding = [index.add(self.chunks("delivery", "returns", mark=f"{number}-")) for number in range(4)]
            found = [index.search("Lyon", 1) for _ in range(8)]
            *_, last = await asyncio.gather(*adding, *found)
            assert self.check(last, 1) == ["hours"]  # type: ignore[arg-type]
            assert len(await index.ids()) == 9

        self.do(index, work())
