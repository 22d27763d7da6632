"""Making projects, tenants and bots on disk. Everything is written beside its place and moved there whole."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from sartor.errors import DiskError, UsageError
from sartor.names import check_name
from sartor.templates import Template, check_values
from sartor.values import JSONValue

__all__ = ["PROJECT_FILE", "Made", "make_bot", "make_project"]

PROJECT_FILE = """\
# A Sartor project. Every key has a default; see docs/reference/spec.md.

model: builtin            # the entry of `models` that bots speak with: change this one line to change the model

models:
  builtin:                # the small model that comes with Sartor: for demos and tests
    plugin: llama
    path: builtin
  # local:                # a GGUF file, in this process
  #   plugin: llama
  #   path: models/your-model.gguf
  # server:               # any OpenAI-compatible server: vLLM, llama-server, a closed model
  #   plugin: openai
  #   url: http://127.0.0.1:8000/v1
  #   model: your-model
  #   api_key: env:MODEL_API_KEY

embeddings:
  plugin: ngrams          # character n-grams; llama-embeddings takes a GGUF embedding model

state: sqlite:///state/sartor.db
"""


@dataclass(frozen=True)
class Made:
    """What `make_bot` made."""

    bot_id: str
    directory: Path
    files: tuple[Path, ...]
    """Relative to the project."""


def make_project(directory: Path) -> bool:
    """Write a `sartor.yaml` into `directory` unless there is one; whether it was written."""
    path = directory / "sartor.yaml"
    if path.exists():
        return False
    with _writing(path), _beside(directory) as draft:
        _write(draft / ".gitignore", "/models/\n/state/\n")
        _write(draft / "sartor.yaml", PROJECT_FILE)
        if not (directory / ".gitignore").exists():
            (draft / ".gitignore").rename(directory / ".gitignore")
        (draft / "sartor.yaml").rename(path)
    return True


def make_bot(project: Path, tenant: str, bot: str, template: Template, values: Mapping[str, JSONValue]) -> Made:
    """Make the bot `tenant/bot` from `template` with `values`, and the tenant if it is new.

    Only values that differ from the template's defaults are written. Raises `NamingError` for a bad name,
    `TemplateError` for bad values, `UsageError` when the bot exists; then nothing is changed.
    """
    check_name("tenant", tenant)
    check_name("bot", bot)
    checked = check_values(template, values)
    told = {name: value for name, value in checked.items() if value != template.spec.values[name].default}
    home = project / "tenants" / tenant
    target = home / bot
    if target.exists():
        raise UsageError(
            f"the bot {tenant}/{bot} exists",
            where=str(target),
            remedy="Choose another name with --bot, or remove the folder.",
        )
    new_tenant = not (home / "tenant.yaml").exists()
    with _writing(target), _beside(project / "tenants") as draft:
        folder = draft / bot
        folder.mkdir()
        _write(folder / "bot.yaml", _bot_yaml(template, told))
        for name in ("knowledge", "tests"):
            (folder / name).mkdir()
        for starter in ("starter", f"starter.{checked.get('language', 'en')}"):
            if (template.directory / starter).is_dir():
                shutil.copytree(template.directory / starter, folder, dirs_exist_ok=True)
        if new_tenant:
            company = str(checked.get("company") or tenant)
            _write(draft / "tenant.yaml", yaml.safe_dump({"name": company}, allow_unicode=True, sort_keys=False))
        _move(draft, home, bot)
    files = sorted(path.relative_to(project) for path in target.rglob("*") if path.is_file())
    if new_tenant:
        files.insert(0, (home / "tenant.yaml").relative_to(project))
    return Made(f"{tenant}/{bot}", target, tuple(files))


def _bot_yaml(template: Template, values: Mapping[str, JSONValue]) -> str:
    head = (
        f"# Made from {template.reference}; what is not said here comes from the template.\n"
        "# `sartor show` prints the whole bot with where each value is from.\n"
    )
    data: dict[str, object] = {"template": template.reference}
    if values:
        data["values"] = dict(values)
    return head + yaml.safe_dump(data, allow_unicode=True, sort_keys=False, width=110)


def _move(draft: Path, home: Path, bot: str) -> None:
    if not home.exists():
        draft.rename(home)
        draft.mkdir()  # for the context manager to remove
        return
    if (draft / "tenant.yaml").exists():
        (draft / "tenant.yaml").rename(home / "tenant.yaml")
    (draft / bot).rename(home / bot)


def _write(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _beside(root: Path) -> Iterator[Path]:
    root.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".new-", dir=root))
    draft.chmod(0o755)
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DiskError(
            f"cannot be written: {error.strerror or error}", where=str(path), remedy="Nothing was left half-written."
        ) from error
