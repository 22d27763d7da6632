"""The suite that companies inherit for their own database, on both of ours."""

from __future__ import annotations

from pathlib import Path

import pytest
from sartor.testing import StoreSuite


class TestSQLite(StoreSuite):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/state/sartor.db"


class TestPostgreSQL(StoreSuite):
    @pytest.fixture
    def url(self, postgres_url: str) -> str:
        return postgres_url
