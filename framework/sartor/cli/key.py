"""`sartor key`: the API keys of tenants."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sartor.cli.options import find_project, project_option, run_async
from sartor.errors import NamingError, UsageError

if TYPE_CHECKING:
    from sartor.server.keys import Keys
    from sartor.store import Store

__all__ = ["command"]


@click.group("key")
def command() -> None:
    """Make, list and revoke the API keys of a tenant."""


@command.command("create")
@click.argument("tenant")
@click.option("--name", default="", help="What it is for.")
@click.option("--scope", "scopes", multiple=True, help="chat (default), search, documents, read, approve or people.")
@click.option("--days", type=float, default=None, help="How long it holds. Default: until it is revoked.")
@project_option
@run_async
async def create(tenant: str, name: str, scopes: tuple[str, ...], days: float | None, project: Path | None) -> None:
    """Make a key for TENANT, and print it. It is shown this once: only a hash of it is stored."""
    async with _keys(project, tenant) as (keys, _):
        key, row = await keys.create(tenant, name=name, scopes=frozenset(scopes or {"chat"}), days=days)
    ends = f"until {row.expires:%Y-%m-%d %H:%M} UTC" if row.expires else "until it is revoked"
    click.secho(f"key {row.id} of {tenant}, for {', '.join(sorted(row.scopes))}, {ends}; shown this once:", err=True)
    click.echo(key)


@command.command("list")
@click.argument("tenant")
@project_option
@run_async
async def list_(tenant: str, project: Path | None) -> None:
    """List the keys of TENANT."""
    from datetime import UTC, datetime

    from rich.table import Table

    from sartor.cli.render import console

    async with _keys(project, tenant) as (_, store):
        rows = await store.tenant(tenant).keys()
    table = Table("id", "name", "for", "made", "state", box=None, header_style="bold", pad_edge=False)
    for row in rows:
        state = "[green]holds[/]" if row.expires is None else f"until {row.expires:%Y-%m-%d}"
        if row.revoked:
            state = f"[red]revoked {row.revoked:%Y-%m-%d}[/]"
        elif row.expires and row.expires <= datetime.now(UTC):
            state = f"[red]expired {row.expires:%Y-%m-%d}[/]"
        table.add_row(row.id, row.name, ", ".join(sorted(row.scopes)), f"{row.created:%Y-%m-%d}", state)
    console.print(table if rows else f"[dim]{tenant} has no keys.[/]")


@command.command("revoke")
@click.argument("tenant")
@click.argument("key")
@project_option
@run_async
async def revoke(tenant: str, key: str, project: Path | None) -> None:
    """Make the key with the id KEY of TENANT hold no more, from the next request on."""
    async with _keys(project, tenant) as (_, store):
        id_ = key.split("_")[1] if key.startswith("sartor_") and key.count("_") > 1 else key
        if not await store.tenant(tenant).revoke_key(id_):
            raise NamingError(
                f"{tenant} has no key {id_!r} that holds", remedy=f"`sartor key list {tenant}` shows them."
            )
    click.echo(f"revoked {id_}")


@asynccontextmanager
async def _keys(project: Path | None, tenant: str) -> AsyncIterator[tuple[Keys, Store]]:
    from sartor.project import Project
    from sartor.store import Store

    try:
        from sartor.server.keys import Keys
        from sartor.server.secret import load_secret
    except ModuleNotFoundError as error:
        raise UsageError(
            f"keys need the package {error.name!r}, which is not installed", remedy="pip install 'sartor[serve]'"
        ) from error
    opened = Project(find_project(project))
    opened.tenant(tenant)  # raises for one that there is none
    async with await Store.open(opened.state_url) as store:
        yield Keys(store, load_secret(opened.spec.service.secret, opened.directory)), store
