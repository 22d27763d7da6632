"""The suite that companies inherit for their own database, on both of ours."""

from __future__ import annotations

import os
import re
import subprocess
import sys
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


def test_it_runs_as_the_documentation_says(postgres_url: str, tmp_path: Path) -> None:
    """A few of its tests, each of which finds the database empty again."""
    page = (Path(__file__).parents[2] / "docs/how-to/use-postgresql.md").read_text(encoding="utf-8")
    [example] = re.findall(r"^```python\n(# tests/test_our_database\.py\n.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "test_our_database.py").write_text(example, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "committed or opening", "."]
    paths = os.pathsep.join(path for path in sys.path if path)
    environment = {**os.environ, "PYTHONPATH": paths, "SARTOR_TEST_STATE": postgres_url}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\b1\d passed", done.stdout) and "skipped" not in done.stdout, done.stdout
