"""The command line, run in this process as the `sartor` script runs it."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from sartor.cli import main


@dataclass(frozen=True)
class Ran:
    """What a command gave: its exit code, and what it wrote."""

    code: int
    out: str
    err: str


@pytest.fixture
def sartor(monkeypatch, capsys) -> Callable[..., Ran]:
    """`sartor("list", "-p", path, stdin="…")` runs a command."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("SARTOR_DEBUG", raising=False)

    def run(*arguments: object, stdin: str = "") -> Ran:
        monkeypatch.setattr(sys, "argv", ["sartor", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()), encoding="utf-8"))
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        return Ran(ended.value.code, told.out, told.err)

    return run


FILES = {
    "tenants/acme/tenant.yaml": "name: Acme\n",
    "tenants/acme/support/bot.yaml": "title: Acme support\nlimits: {tool_steps: 2}\n",
    "tenants/acme/support/knowledge/delivery.md": "# Delivery\n\nParcels leave within one day.\n",
}


@pytest.fixture
def project(make_project) -> Callable[..., object]:
    """A project of one bot with one document: `project(script=[…], files={…})`."""

    def make(files: dict[str, str] | None = None, script: object = ()) -> object:
        return make_project({**FILES, **(files or {})}, script=script)

    return make
