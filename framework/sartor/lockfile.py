"""`sartor.lock`: which plugins a project runs with, to the byte."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path

import yaml

from sartor.errors import DiskError, PluginError
from sartor.isolation.making import isolated
from sartor.plugins import Catalog, Known
from sartor.project import Project
from sartor.yamlfile import read_yaml

__all__ = ["LOCK", "Locked", "catalog_of", "differences", "lock", "named_plugins", "read_lock", "write_lock"]

LOCK = "sartor.lock"

_HEAD = """\
# Written by `sartor plugins --lock`: the plugins that this project names, with a hash of their files.
# `sartor plugins --verify` compares; `locked: true` in sartor.yaml lets no other plugin start.
"""
_PASSING = ("__pycache__", ".pyc", ".pyo")


@dataclass(frozen=True, slots=True)
class Locked:
    """A plugin, as it was when the lock was written."""

    source: str
    """A distribution and its version, or a file of the project."""
    sha256: str


def named_plugins(project: Project) -> dict[str, str | None]:
    """The plugins that `sartor.yaml` and the bots name, each with the place of one mention. Raises `SpecError`."""
    spec, place = project.spec, project.file.place
    found: dict[str, str | None] = {use.plugin: place(("models", name)) for name, use in spec.models.items()}
    for key, use in (("embeddings", spec.embeddings), ("index", spec.index)):
        if use is not None:
            found.setdefault(use.plugin, place((key,)))
    for key, names in (("readers", spec.readers), ("observers", spec.observers)):
        for name in names:
            found.setdefault(name, place((key,)))
    for bot_id in project.bots():
        bot = project.bot(bot_id)
        for name in bot.spec.plugins:
            found.setdefault(name, bot.merged.place(("plugins", name)))
    return dict(sorted(found.items()))


def lock(project: Project) -> dict[str, Locked]:
    """The plugins of the project as they are now; none is imported. Raises `PluginError`, `SpecError`."""
    catalog = Catalog(project.directory)
    return {name: _now(catalog.find(name, where=where), project) for name, where in named_plugins(project).items()}


def read_lock(directory: Path) -> dict[str, Locked]:
    """What `sartor.lock` says. Raises `PluginError` where it is missing, or is no lock."""
    path = directory / LOCK
    if not path.is_file():
        raise PluginError("there is no sartor.lock", where=str(directory), remedy="Write it: sartor plugins --lock")
    plugins = read_yaml(path).data.get("plugins")
    found: dict[str, Locked] = {}
    for name, told in plugins.items() if isinstance(plugins, dict) else ():
        if isinstance(told, dict) and told.keys() == {"from", "sha256"}:
            found[name] = Locked(str(told["from"]), str(told["sha256"]))
    if not isinstance(plugins, dict) or len(found) != len(plugins):
        raise PluginError("is no lock", where=str(path), remedy="Write it anew: sartor plugins --lock")
    return found


def write_lock(directory: Path, plugins: Mapping[str, Locked]) -> Path:
    """Write `sartor.lock`, whole or not at all."""
    path = directory / LOCK
    told = {name: {"from": one.source, "sha256": one.sha256} for name, one in sorted(plugins.items())}
    try:
        draft = path.with_suffix(".lock.new")
        draft.write_text(_HEAD + yaml.safe_dump({"plugins": told}, allow_unicode=True), encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        raise DiskError(f"cannot be written: {error.strerror or error}", where=str(path)) from error
    return path


def differences(then: Mapping[str, Locked], now: Mapping[str, Locked]) -> Iterator[str]:
    """What has changed since the lock was written, a sentence for each plugin."""
    for name in sorted({*then, *now}):
        if name not in now:
            yield f"{name}: is locked, and nothing names it any more"
        elif name not in then:
            yield f"{name}: is not locked ({now[name].source})"
        elif then[name].source != now[name].source:
            yield f"{name}: was {then[name].source}, is {now[name].source}"
        elif then[name].sha256 != now[name].sha256:
            yield f"{name}: other files than when it was locked, though still {now[name].source}"


def catalog_of(project: Project) -> Catalog:
    """The plugins in reach of a project: with ``locked: true``, only those in its lock, as they were then.

    Raises `PluginError` for a lock that is missing; a plugin that differs is refused when it is needed, unimported.
    """
    if not project.spec.locked:
        return Catalog(project.directory, elsewhere=isolated(project))
    locked = read_lock(project.directory)

    def check(known: Known, where: str | None) -> None:
        now = {known.name: _now(known, project)}
        then = {known.name: locked[known.name]} if known.name in locked else {}
        for what in differences(then, now):
            raise PluginError(
                f"plugin {what}",
                where=where,
                remedy="Install what was locked, or look at the change, then: sartor plugins --lock",
            )

    return Catalog(project.directory, check, isolated(project, check))


def _now(known: Known, project: Project) -> Locked:
    if isinstance(known.target, EntryPoint):
        return Locked(known.source, _hash(_files_of(known.target)))
    file = known.target
    return Locked(file.relative_to(project.directory).as_posix(), _hash([(file.name, file)]))


def _files_of(point: EntryPoint) -> Iterator[tuple[str, Path]]:
    """The files of the package that an entry point is in, by their names below it; nothing is imported."""
    top = point.module.partition(".")[0]
    spec = importlib.util.find_spec(top)
    folders = [Path(folder) for folder in (spec.submodule_search_locations or ())] if spec else []
    for folder in folders:
        for file in sorted(folder.rglob("*")):
            if file.is_file() and not any(mark in str(file.relative_to(folder)) for mark in _PASSING):
                yield file.relative_to(folder).as_posix(), file
    if not folders and spec is not None and spec.origin:
        yield Path(spec.origin).name, Path(spec.origin)


def _hash(files: Iterable[tuple[str, Path]]) -> str:
    whole = hashlib.sha256()
    for name, file in files:
        whole.update(f"{name}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    return whole.hexdigest()
