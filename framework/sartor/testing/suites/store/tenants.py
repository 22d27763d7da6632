"""Tenants: what they can see of each other, and what is left of one that was erased."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import pytest

from sartor.errors import NamingError
from sartor.store import Store, TenantStore
from sartor.store.inspection import Rows, contents
from sartor.testing.suites.base import run
from sartor.testing.suites.store.base import StoreTests, several, with_store
from sartor.testing.suites.store.samples import SPENT, fill, sample_key, sample_reply, tenant_chunks
from sartor.values import NO_USAGE

__all__ = ["TenantTests"]

Asked = Callable[[TenantStore], Awaitable[object]]

READING: Mapping[str, tuple[Asked, object]] = {
    "history": (lambda store: store.history("support", "ann", "c1", 5), []),
    "standing": (lambda store: store.standing("support", "ann", "c1"), None),
    "open_handover": (lambda store: store.open_handover("support", "ann", "c1"), None),
    "open_handovers": (lambda store: store.open_handovers(), []),
    "handover": (lambda store: store.handover("h1"), None),
    "reply": (lambda store: store.reply("t1"), None),
    "conversations": (lambda store: store.conversations("support", "ann", 5), []),
    "conversation": (lambda store: store.conversation("c1"), None),
    "turns": (lambda store: store.turns("c1", 5), []),
    "last_turns": (lambda store: store.last_turns("c1", 5), []),
    "keys": (lambda store: store.keys(), []),
    "feedback": (lambda store: store.feedback("t1"), None),
    "responses": (lambda store: store.responses("t1", 5), []),
    "usage": (lambda store: store.usage(), NO_USAGE),
    "documents": (lambda store: store.documents("support"), {}),
    "chunks": (lambda store: store.chunks("support", [one.id for one in tenant_chunks("acme")]), {}),
    "document_chunks": (lambda store: store.document_chunks("support", "delivery.md"), []),
    "all_chunks": (lambda store: store.all_chunks("support"), []),
}
"""Each method that reads, asked for what `fill` stores of acme, and what it gives where there is nothing."""

WRITING: Mapping[str, Asked] = {
    "exchange_standing": lambda store: store.exchange_standing(
        "support", "ann", "c1", old={"of": "acme"}, new={"of": store.tenant}
    ),
    "commit": lambda store: store.commit(sample_reply("New?", tenant=store.tenant)),
    "commit_said": lambda store: store.commit_said(sample_reply("Said?", tenant=store.tenant)),
    "add_key": lambda store: store.add_key(sample_key("another", store.tenant)),
    "revoke_key": lambda store: store.revoke_key("key-acme"),
    "claim": lambda store: store.claim("ann", "request-1", "fingerprint", "t9"),
    "forget_request": lambda store: store.forget_request("ann", "request-1", "t1"),
    "put_response": lambda store: store.put_response("t1", "t1", {}),
    "forget_response": lambda store: store.forget_response("t1"),
    "put_feedback": lambda store: store.put_feedback("t1", -1, "Bad."),
    "put_document": lambda store: store.put_document(
        "support", "delivery.md", "bb", "New", tenant_chunks(store.tenant)
    ),
    "remove_document": lambda store: store.remove_document("support", "delivery.md"),
    "erase": lambda store: store.erase(),
}
"""Each method that writes, aimed at what `fill` stores of acme."""


def _of(rows: Rows, tenant: str) -> Rows:
    """The rows that are the tenant's."""
    return {
        table: [row for row in found if tenant in (row.get("tenant"), row.get("name"))] for table, found in rows.items()
    }


class TenantTests(StoreTests):
    """Tests that each tenant is alone, and goes without a trace."""

    def test_every_method_is_tried(self) -> None:
        methods = {name for name in vars(TenantStore) if not name.startswith("_")}
        assert methods == READING.keys() | WRITING.keys()

    @pytest.mark.parametrize("method", READING)
    @with_store
    async def test_nothing_of_another_tenant_is_read(self, store: Store, method: str) -> None:
        ask, nothing = READING[method]
        acme, globex = store.tenant("acme"), store.tenant("globex")
        await fill(acme)
        assert await ask(globex) == nothing, f"{method} gives a tenant what is another's"
        assert await ask(acme) != nothing, f"{method} does not give what is there"
        await fill(globex)
        for tenant, other in ((acme, "globex"), (globex, "acme")):
            assert other not in repr(await ask(tenant)), f"{method} gives what is another tenant's"

    @pytest.mark.parametrize("method", WRITING)
    @pytest.mark.parametrize("known", [False, True], ids=["a new tenant", "one with the same ids"])
    def test_nothing_of_another_tenant_is_changed(self, url: str, method: str, known: bool) -> None:
        async def work() -> None:
            async with several(url, 1) as [store]:
                acme, globex = store.tenant("acme"), store.tenant("globex")
                await fill(acme)
                if known:
                    await fill(globex)
                before = _of(await contents(url), "acme")
                missing = [table for table, rows in before.items() if not rows]
                assert not missing, f"nothing is left in {', '.join(missing)} when another tenant stores the same"
                await WRITING[method](globex)
                assert _of(await contents(url), "acme") == before, f"{method} changes what is another tenant's"

        run(work())

    @with_store
    async def test_tenants_are_listed_by_name(self, store: Store) -> None:
        for tenant in ("globex", "acme", "initech"):
            await store.tenant(tenant).commit(sample_reply(tenant=tenant))
        assert await store.tenants() == ["acme", "globex", "initech"]

    @with_store
    async def test_a_turn_of_another_tenant_is_refused(self, store: Store) -> None:
        with pytest.raises(NamingError, match="tenant 'globex', not of 'acme'"):
            await store.tenant("acme").commit(sample_reply(tenant="globex"))
        assert await store.tenants() == []

    def test_erasing_a_tenant_leaves_nothing_of_it_in_any_table(self, url: str) -> None:
        async def work() -> None:
            async with several(url, 1) as [store]:
                acme, globex = store.tenant("acme"), store.tenant("globex")
                await fill(acme)
                await fill(globex)
                before = await contents(url)
                missing = [table for table, rows in _of(before, "acme").items() if not rows]
                assert not missing, f"the sample of a tenant has nothing in {', '.join(missing)}"
                gone = await acme.erase()
                assert gone == {table: len(rows) for table, rows in _of(before, "acme").items()}
                after = await contents(url)
                left = [table for table, rows in after.items() if "acme" in repr(rows)]
                assert not left, f"something of an erased tenant is left in {', '.join(left)}"
                assert after == _of(before, "globex"), "more than the tenant was erased"

        run(work())

    @with_store
    async def test_an_erased_tenant_may_come_back(self, store: Store) -> None:
        acme = store.tenant("acme")
        assert not any((await acme.erase()).values())
        await fill(acme)
        await acme.erase()
        assert not any((await acme.erase()).values())
        assert await store.tenants() == [] and await store.find_key("key-acme") is None
        await fill(acme)
        assert await acme.usage() == SPENT and len(await acme.turns("c1", 5)) == 1
