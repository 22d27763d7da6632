"""Finding, loading and asking plugins.

Discovery reads the names of entry points and of files; only what a project or a bot names is imported. Hooks
are asked plugin by plugin, so that a result or a fault always has its plugin's name.
"""

from __future__ import annotations

import difflib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import pluggy
from pydantic import ValidationError

from sartor import hookspecs
from sartor.errors import PluginError, SartorError
from sartor.hookversions import check_hook_versions
from sartor.plugin import Plugin
from sartor.plugintrace import noted
from sartor.values import JSONValue

__all__ = ["Catalog", "Known", "Maker", "PluginSet"]

GROUP = "sartor.plugins"
_EXTRAS = {
    "http": "tools",
    "mcp-tools": "tools",
    "openai": "openai",
    "openapi": "tools",
    "slack": "channels",
    "sql": "tools",
    "telemetry": "telemetry",
    "webhook": "channels",
}
"""The extra with what a plugin of our own needs, where it is not ``local``."""


@dataclass(frozen=True)
class Known:
    """A plugin that could be loaded, and where it is from."""

    name: str
    source: str
    """A distribution and its version, or a file."""
    target: EntryPoint | Path = field(compare=False)


Maker = Callable[[Known, Mapping[str, JSONValue], Path, str | None], Plugin]
"""Makes what stands in the place of a plugin, given its settings, its directory, and the place that names it."""


class Catalog:
    """The plugins in reach of a project: entry points of the group ``sartor.plugins``, and the files of the
    project's own `plugins/` folder, each with one class that derives from `Plugin`."""

    def __init__(
        self,
        project: Path | None = None,
        check: Callable[[Known, str | None], None] = lambda known, where: None,
        elsewhere: Mapping[str, Maker] | None = None,
    ) -> None:
        """`check` is asked about a plugin, and the place that names it, before it is imported; what it raises
        refuses the plugin. Those named in `elsewhere` are never imported here, but made by what is given."""
        self._project = project
        self._check = check
        self.elsewhere: Mapping[str, Maker] = elsewhere or {}
        self._loaded: dict[str, type[Plugin]] = {}
        self._added: dict[str, Known] = {}

    @cached_property
    def known(self) -> Mapping[str, Known]:
        """All plugins by name, none of them imported. A file of the project goes before an entry point."""
        found: dict[str, Known] = {}
        for point in entry_points(group=GROUP):
            source = f"{point.dist.name} {point.dist.version}" if point.dist else point.value
            if point.name in found and found[point.name].target != point:
                raise PluginError(
                    f"two packages bring a plugin {point.name!r}: {found[point.name].source} and {source}",
                    remedy="Uninstall one of them.",
                )
            found[point.name] = Known(point.name, source, point)
        if self._project is not None:
            for file in sorted((self._project / "plugins").glob("[!_]*.py")):
                name = file.stem.replace("_", "-")
                found[name] = Known(name, str(file), file)
        return {**found, **self._added}

    def add(self, known: Known) -> None:
        """Make a plugin known that is neither installed nor a file of the project."""
        self._added[known.name] = known
        self.forget()

    def forget(self, *names: str) -> dict[str, type[Plugin]]:
        """Look again for what is in reach, and load the plugins `names` again when they are next asked for. Gives
        their classes so far, for `remember`."""
        self.__dict__.pop("known", None)
        return {name: self._loaded.pop(name) for name in names if name in self._loaded}

    def remember(self, classes: Mapping[str, type[Plugin]]) -> None:
        """Take classes back that were forgotten."""
        self._loaded.update(classes)

    def load(self, name: str, *, where: str | None = None) -> type[Plugin]:
        """The class of the plugin `name`, imported on first use. Raises `PluginError`."""
        if name in self.elsewhere:
            raise PluginError(
                f"plugin {name!r} is isolated: its code does not run in this process",
                where=where,
                remedy="isolated_plugins in sartor.yaml says so.",
            )
        if name not in self._loaded:
            known = self.find(name, where=where)
            self._check(known, where)
            self._loaded[name] = _load(known, where)
        return self._loaded[name]

    def find(self, name: str, *, where: str | None = None) -> Known:
        """Where the plugin `name` is from; it is not imported. Raises `PluginError` where there is none."""
        if name not in self.known:
            close = difflib.get_close_matches(name, self.known, n=1)
            hint = f"Did you mean {close[0]!r}? " if close else ""
            raise PluginError(
                f"there is no plugin {name!r}",
                where=where,
                remedy=f"{hint}`sartor plugins` lists those that are installed.",
            )
        return self.known[name]

    def make(self, name: str, settings: Mapping[str, JSONValue], directory: Path, where: str | None = None) -> Plugin:
        """A plugin with its settings checked. Raises `PluginError`."""
        if maker := self.elsewhere.get(name):
            known = self.find(name, where=where)
            self._check(known, where)
            return maker(known, settings, directory, where)
        made = self.load(name, where=where)
        try:
            checked = made.Settings.model_validate(dict(settings))
        except ValidationError as error:
            raise PluginError(
                f"settings of plugin {name!r}: {_faults(error, made)}",
                where=where,
                remedy=f"`sartor plugins {name}` shows the settings that it takes.",
            ) from error
        except Exception as error:
            raise _named(name, "raised while its settings were checked", error, where) from error
        try:
            with noted(name, "make"):
                plugin = made(checked, directory)
            plugin.name = name
        except SartorError:
            raise
        except Exception as error:
            raise _named(name, "raised while it was made", error, where) from error
        return plugin


class PluginSet:
    """The plugins of one bot, or of one place in `sartor.yaml`, with their hooks checked."""

    def __init__(self, plugins: Iterable[Plugin]) -> None:
        """Raises `PluginError` for a hook that is misspelt, not marked, or takes an argument that it may not."""
        self._manager = pluggy.PluginManager("sartor")
        self._manager.add_hookspecs(hookspecs)
        self.plugins = tuple(plugins)
        for plugin in self.plugins:
            self._register(plugin)

    def ask(self, hook: str, **arguments: object) -> Iterator[tuple[Plugin, object]]:
        """What each plugin that implements `hook` answers, in the order of the set.

        Raises `PluginError` naming the plugin and the hook when an implementation raises, is async, or returns None.
        """
        for plugin in self.plugins:
            if not self._implements(plugin, hook):
                continue
            caller = self._manager.subset_hook_caller(hook, [other for other in self.plugins if other is not plugin])
            try:
                with noted(plugin.name, hook, arguments) as note:
                    results = caller(**arguments)
                    note.result = results[0] if results else None
            except SartorError:
                raise
            except Exception as error:
                raise _named(plugin.name, f"raised in {hook}", error) from error
            if not results:
                raise PluginError(
                    f"plugin {plugin.name!r}: {hook} returned None",
                    remedy="Is there a `return` missing? Return [] for none.",
                )
            for result in results:
                if inspect.isawaitable(result):
                    if inspect.iscoroutine(result):
                        result.close()
                    raise PluginError(
                        f"plugin {plugin.name!r}: {hook} is async",
                        remedy="Hooks are plain functions that return objects; make the methods of those async.",
                    )
                yield plugin, result

    def collect(self, hook: str, **arguments: object) -> Iterator[tuple[Plugin, object]]:
        """Like `ask` for a hook that returns a sequence: each item with its plugin."""
        for plugin, result in self.ask(hook, **arguments):
            if isinstance(result, str | bytes | Mapping) or not isinstance(result, Iterable):
                raise PluginError(f"plugin {plugin.name!r}: {hook} returned {type(result).__name__}, not a sequence")
            try:
                items = list(result)
            except SartorError:
                raise
            except Exception as error:
                raise _named(plugin.name, f"raised in {hook}", error) from error
            for item in items:
                yield plugin, item

    def hooks(self, plugin: Plugin) -> list[str]:
        """The names of the hooks that `plugin` implements."""
        callers = self._manager.get_hookcallers(plugin) or []
        return sorted(caller.name for caller in callers)

    def _implements(self, plugin: Plugin, hook: str) -> bool:
        return any(impl.plugin is plugin for impl in getattr(self._manager.hook, hook).get_hookimpls())

    def _register(self, plugin: Plugin) -> None:
        known = {name for name in vars(hookspecs) if name.startswith("sartor_")}
        for name in dir(type(plugin)):
            marked = hasattr(getattr(type(plugin), name, None), "sartor_impl")
            if not marked and not name.startswith("sartor_"):
                continue
            close = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
            if name not in known:
                raise PluginError(
                    f"plugin {plugin.name!r}: {name} is no hook",
                    remedy=f"Did you mean {close}? See docs/reference/hooks.md.",
                )
            if not marked:
                raise PluginError(
                    f"plugin {plugin.name!r}: {name} is not marked as a hook", remedy="Put @hookimpl above it."
                )
        try:
            self._manager.register(plugin)
        except pluggy.PluginValidationError as error:
            problem = str(error).splitlines()[-1].strip() or str(error)
            raise PluginError(
                f"plugin {plugin.name!r} implements a hook wrongly: {problem}",
                remedy="An implementation may name only the arguments that docs/reference/hooks.md gives.",
            ) from error


def _load(known: Known, where: str | None) -> type[Plugin]:
    with noted(known.name, "import"):
        found = _import(known, where)
    check_hook_versions(found, known.name, where=where)
    return found


def _import(known: Known, where: str | None) -> type[Plugin]:
    try:
        found = known.target.load() if isinstance(known.target, EntryPoint) else _from_file(known.target)
    except SartorError:
        raise
    except ModuleNotFoundError as error:
        raise PluginError(
            f"plugin {known.name!r} needs the package {error.name!r}, which is not installed",
            where=where,
            remedy=_extra_remedy(known, error),
        ) from error
    except (Exception, SystemExit) as error:
        raise _named(known.name, "raised while it was imported", error, where) from error
    if not (isinstance(found, type) and issubclass(found, Plugin)):
        raise PluginError(f"plugin {known.name!r} ({known.source}) is no class that derives from sartor.Plugin")
    return found


def _extra_remedy(known: Known, error: ModuleNotFoundError) -> str:
    package = (error.name or "").partition(".")[0]
    if known.source.startswith("sartor "):
        extra = _EXTRAS.get(known.name, "local")
        return f"pip install 'sartor[{extra}]'"
    remedy = f"Install it: pip install {package.replace('_', '-')}"
    own = isinstance(known.target, Path)  # of the project: it may import the host application, which nobody can install
    return f"{remedy}; or name the folder that holds your own {package} in PYTHONPATH" if own else remedy


def _from_file(file: Path) -> type[Plugin]:
    name = f"sartor_project_plugins.{file.stem}_{abs(hash(str(file.resolve())))}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    own = list(
        dict.fromkeys(
            value
            for value in vars(module).values()
            if isinstance(value, type) and issubclass(value, Plugin) and value.__module__ == name
        )
    )
    if len(own) != 1:
        raise PluginError(
            f"has {len(own)} classes that derive from Plugin", where=str(file), remedy="Keep exactly one in the file."
        )
    return own[0]


def _named(name: str, what: str, error: BaseException, where: str | None = None) -> PluginError:
    at = ""
    if error.__traceback__ is not None and not isinstance(error, SyntaxError):  # which tells its place itself
        frame = error.__traceback__
        while frame.tb_next is not None:
            frame = frame.tb_next
        at = f" ({Path(frame.tb_frame.f_code.co_filename).name}:{frame.tb_lineno})"
    return PluginError(f"plugin {name!r} {what}: {type(error).__name__}: {error}{at}", where=where)


def _faults(error: ValidationError, made: type[Plugin]) -> str:
    faults = []
    for fault in error.errors(include_url=False):
        key = ".".join(map(str, fault["loc"])) or "the whole"
        if fault["type"] == "extra_forbidden":
            close = difflib.get_close_matches(str(fault["loc"][-1]), made.Settings.model_fields, n=1)
            faults.append(f"unknown key {key!r}" + (f" (did you mean {close[0]!r}?)" if close else ""))
        else:
            faults.append(f"{key}: {fault['msg'][:1].lower()}{fault['msg'][1:]}")
    return "; ".join(faults)
