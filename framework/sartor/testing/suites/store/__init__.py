"""Tests of the state database, for those who run it on a server, a version or behind a pooler of their own."""

from __future__ import annotations

from sartor.testing.suites.store.documents import DocumentTests
from sartor.testing.suites.store.service import ServiceTests
from sartor.testing.suites.store.tenants import TenantTests
from sartor.testing.suites.store.texts import TextTests
from sartor.testing.suites.store.turns import TurnTests
from sartor.testing.suites.store.writers import WriterTests

__all__ = ["StoreSuite"]


class StoreSuite(TurnTests, TextTests, DocumentTests, ServiceTests, TenantTests, WriterTests):
    """Tests of what the store promises, on your database. Override the fixture `url`.

    It gives the address of an empty database, each time it is asked: what a test leaves in it is in the next one's
    way. The tests look at all its tables, so nothing else may write to it meanwhile. SQLite in memory will not do,
    since several open the database at once.
    """
