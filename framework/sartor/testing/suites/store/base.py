"""What the tests of the store are given: an empty database, and an open store on it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Concatenate, ParamSpec, TypeVar, cast

import pytest

from sartor.store import Store
from sartor.testing.suites.base import run

__all__ = ["StoreTests", "several", "with_store"]

P = ParamSpec("P")
S = TypeVar("S")


class StoreTests:
    """Tests on one database."""

    @pytest.fixture
    def url(self) -> str:
        """The address of an empty database, for `Store.open`. Override it."""
        pytest.fail("give the suite an empty database: override the fixture `url`")


def with_store(
    test: Callable[Concatenate[S, Store, P], Coroutine[object, object, None]],
) -> Callable[Concatenate[S, str, P], None]:
    """A test that is given `url`, of one that is given an open store: it needs no plugin of pytest."""

    @functools.wraps(test)
    def opened(self: S, url: str, *arguments: P.args, **more: P.kwargs) -> None:
        async def whole() -> None:
            async with await Store.open(url) as store:
                await test(self, store, *arguments, **more)

        run(whole())

    told = inspect.signature(test)
    parameters = [one.replace(name="url") if one.name == "store" else one for one in told.parameters.values()]
    opened.__signature__ = told.replace(parameters=parameters)  # type: ignore[attr-defined]
    return cast("Callable[Concatenate[S, str, P], None]", opened)


@asynccontextmanager
async def several(url: str, number: int) -> AsyncIterator[list[Store]]:
    """Stores on one database, each with connections of its own, as several processes have them."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(await Store.open(url)) for _ in range(number)]
