"""The Python modules of plugins that are being worked on, imported anew where their files have changed."""

from __future__ import annotations

import importlib
import importlib.util
import json
import linecache
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint
from pathlib import Path
from types import ModuleType

from sartor.plugins import Catalog, Known
from sartor.stamps import SOURCES, Stamps, stamps

__all__ = ["FreshModules"]


@dataclass(frozen=True)
class _Unit:
    """What is imported anew as a whole: a file of the project's `plugins/`, or an installed package."""

    place: Path
    modules: str
    """The name of its module; for a file of the project, how it begins."""
    project: bool

    def holds(self, module: str) -> bool:
        if self.project:
            return module.startswith(self.modules)
        return module == self.modules or module.startswith(f"{self.modules}.")


class FreshModules:
    """The plugins that can change while the project is open: files of its `plugins/`, and packages that were
    installed with ``pip install -e``. Sartor's own and all other packages are left alone."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._imported: dict[_Unit, Stamps] = {}
        """How the files of each unit looked when it was imported."""

    def places(self, names: Iterable[str]) -> list[Path]:
        """The files and folders that the plugins `names` are in, after another look at what is in reach."""
        self._catalog.forget()
        return sorted({unit.place for name in names if (unit := self._unit(name))})

    @contextmanager
    def fresh(self, names: Iterable[str]) -> Iterator[None]:
        """Let those of the plugins `names` whose files have changed be imported anew within. When that raises, all
        modules are put back as they were, and so is what was known of them."""
        units = {unit for name in names if (unit := self._unit(name))}
        now = {unit: stamps([unit.place], suffixes=SOURCES) for unit in units}
        for unit in units:
            self._imported.setdefault(unit, now[unit])
        stale = [unit for unit in units if self._imported[unit] != now[unit]]
        kept = {name: module for name, module in sys.modules.items() if any(unit.holds(name) for unit in stale)}
        loaded = self._catalog.forget(*(name for name in self._catalog.known if self._unit(name) in stale))
        for unit in stale:
            _drop(unit, kept)
        try:
            yield
        except BaseException:
            for name in [name for name in sys.modules if any(unit.holds(name) for unit in stale)]:
                del sys.modules[name]
            sys.modules.update(kept)
            self._catalog.remember(loaded)
            raise
        self._imported.update(now)

    def _unit(self, name: str) -> _Unit | None:
        known = self._catalog.known.get(name)
        if known is None:
            return None
        if isinstance(known.target, Path):
            return _Unit(known.target, f"sartor_project_plugins.{known.target.stem}_", project=True)
        return _package(known, known.target)


def _package(known: Known, point: EntryPoint) -> _Unit | None:
    """The package of an entry point: the first regular one on the way to its module."""
    if known.source.startswith("sartor ") or not _editable(point.dist):
        return None
    name = ""
    for part in point.module.split("."):
        name = f"{name}.{part}".lstrip(".")
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError):
            return None
        if spec is not None and spec.origin is not None:
            file = Path(spec.origin)
            return _Unit(file.parent if spec.submodule_search_locations else file, name, project=False)
    return None


def _editable(distribution: Distribution | None) -> bool:
    """Whether it was installed with ``pip install -e``, as its `direct_url.json` tells (PEP 610)."""
    told = distribution.read_text("direct_url.json") if distribution else None
    try:
        return bool(told) and json.loads(str(told)).get("dir_info", {}).get("editable") is True
    except (ValueError, AttributeError):
        return False


def _drop(unit: _Unit, modules: dict[str, ModuleType]) -> None:
    """Forget the modules, with their compiled form: Python trusts that by whole seconds and size alone."""
    for name in modules:
        if unit.holds(name):
            sys.modules.pop(name, None)
    for file in stamps([unit.place], suffixes=frozenset({".py"})):
        Path(importlib.util.cache_from_source(str(file))).unlink(missing_ok=True)
    importlib.invalidate_caches()
    linecache.checkcache()
