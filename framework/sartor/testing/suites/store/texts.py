"""Texts and names: what comes back as it was, what is mended, what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sartor.errors import NamingError
from sartor.store import Store
from sartor.testing.suites.base import ODD_TEXTS
from sartor.testing.suites.store.base import StoreTests, with_store
from sartor.testing.suites.store.samples import sample_chunks, sample_key, sample_reply
from sartor.values import Exchange

__all__ = ["TextTests"]

_LONG = "Größe 👩‍👩‍👧 und so weiter. " * 40_000
"""More than a million characters, and twice as many bytes."""
_ALIKE = (
    "Ann",
    "ann",
    "ann ",
    " ann",
    "ánn",
    "a\u0301nn",
    "ａｎｎ",
    "an%",
    "an_",
    "ann\u200b",
    "ANN",
    "аnn",
    "é" * 256,
)
"""Names that a careless collation takes for one another, and the longest there may be."""
_NO_NAMES = ("", "a\0b", "\ud83d", "é" * 257)


def _mended(text: str) -> str:
    return text.replace("\0", "\ufffd").replace("\ud800", "\ufffd")


class TextTests(StoreTests):
    """Tests of what a database may make of letters."""

    @with_store
    async def test_odd_texts_come_back_as_they_were(self, store: Store) -> None:
        acme = store.tenant("acme")
        for text in ODD_TEXTS:
            await acme.commit(sample_reply(text, text[::-1]))
        expected = [Exchange(_mended(text), _mended(text[::-1])) for text in ODD_TEXTS]
        assert await acme.history("support", "ann", "c1", len(ODD_TEXTS)) == expected

    @with_store
    async def test_text_that_no_database_can_hold_is_mended(self, store: Store) -> None:
        acme = store.tenant("acme")
        await acme.commit(sample_reply("a\0b", "half \ud83d, whole \ud83d\ude42", id="t1"))
        assert await acme.history("support", "ann", "c1", 1) == [Exchange("a\ufffdb", "half \ufffd, whole 🙂")]
        await acme.put_feedback("t1", -1, "Half a \ud83d, no\0 more")
        found = await acme.feedback("t1")
        assert found is not None and found.comment == "Half a \ufffd, no\ufffd more"

    @with_store
    async def test_long_texts_are_whole(self, store: Store) -> None:
        acme = store.tenant("acme")
        long = [replace(chunk, text=_LONG) for chunk in sample_chunks(1)]
        await acme.commit(sample_reply(_LONG, _LONG[::-1]))
        assert await acme.history("support", "ann", "c1", 1) == [Exchange(_LONG, _LONG[::-1])]
        await acme.put_document("support", "delivery.md", "aa", "T", long)
        assert await acme.all_chunks("support") == long

    @with_store
    async def test_names_that_look_alike_are_not_the_same(self, store: Store) -> None:
        acme = store.tenant("acme")
        for name in _ALIKE:
            await acme.commit(sample_reply(f"Question of {name}", id=name, user=name, conversation=name))
            assert (await acme.claim(name, "request-1", "told", name)).turn == name
            await acme.add_key(sample_key(name))
        for name in _ALIKE:
            [exchange] = await acme.history("support", name, name, 10)
            assert exchange.question == f"Question of {name}"
            [row] = await acme.conversations("support", name, 10)
            assert (row.id, row.user, row.turns) == (name, name, 1)
            key = await store.find_key(name)
            assert key is not None and key.id == name
        assert len(await acme.keys()) == len(_ALIKE)

    @pytest.mark.parametrize("name", _NO_NAMES, ids=["empty", "NUL", "half a pair", "too long"])
    @with_store
    async def test_names_that_no_database_can_hold_are_refused(self, store: Store, name: str) -> None:
        acme = store.tenant("acme")
        for call in (
            lambda: acme.history("support", name, "c1", 1),
            lambda: acme.commit(sample_reply(conversation=name)),
            lambda: acme.add_key(sample_key(name)),
            lambda: acme.revoke_key(name),
            lambda: acme.claim(name, "request-1", "fingerprint", "t1"),
            lambda: acme.claim("ann", name, "fingerprint", "t1"),
            lambda: acme.claim("ann", "request-1", "fingerprint", name),
            lambda: acme.forget_request("ann", name, "t1"),
            lambda: acme.put_feedback(name, 1, ""),
            lambda: acme.feedback(name),
            lambda: acme.conversation(name),
            lambda: acme.turns(name, 1),
            lambda: acme.handover(name),
            lambda: acme.put_document("support", name, "aa", "T", []),
        ):
            with pytest.raises(NamingError, match="cannot be the name of a"):
                await call()
        with pytest.raises(NamingError, match="name of a tenant"):
            store.tenant(name)
        assert await store.tenants() == []
