"""The isolated plugins of a project: how each is made, and what is known of its tools."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from sartor.errors import PluginError
from sartor.isolation.link import Launch
from sartor.isolation.paths import module_paths, readable
from sartor.isolation.plugin import IsolatedPlugin
from sartor.isolation.wire import ToolForm, told_info
from sartor.isolationspec import IsolationSpec
from sartor.plugin import Plugin
from sartor.plugins import Catalog, Known, Maker
from sartor.project import Project
from sartor.values import BotInfo, JSONValue

__all__ = ["catalog_apart", "isolated"]

_FAULT_SECONDS = 30.0
"""For so long a plugin that does not start is not tried again, since whoever asks for its bot waits meanwhile."""

Check = Callable[[Known, str | None], None]


def isolated(project: Project, check: Check = lambda known, where: None) -> Mapping[str, Maker]:
    """For each plugin that `sartor.yaml` isolates, what makes it. `check` is asked before each start of a process."""
    return {
        name: _Isolation(project.directory, limits, check).make
        for name, limits in project.spec.isolated_plugins.items()
    }


def catalog_apart(project: Path | None) -> Catalog:
    """The plugins in reach of the project in that folder, to look at: those that it isolates are not imported."""
    if project is None or not (project / "sartor.yaml").is_file():
        return Catalog(project)
    return Catalog(project, elsewhere=isolated(Project(project)))


@dataclass
class _Known:
    """What was learned of a plugin with certain settings."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    forms: Sequence[ToolForm] | None = None
    fault: PluginError | None = None
    until: float = 0.0


class _Isolation:
    """Makes one isolated plugin for any number of bots."""

    def __init__(self, project: Path, limits: IsolationSpec, check: Check) -> None:
        self._project = project
        self._limits = limits
        self._check = check
        self._learned: dict[str, _Known] = {}

    def make(self, known: Known, settings: Mapping[str, JSONValue], directory: Path, where: str | None) -> Plugin:
        launch = partial(self._launch, known, settings, directory, where)
        forms = partial(self._forms, self._key(known, settings))
        return IsolatedPlugin(known.name, directory, self._limits, launch, forms)

    def _key(self, known: Known, settings: Mapping[str, JSONValue]) -> str:
        """What the tools depend on: the code, and the settings."""
        code = known.target.read_bytes() if isinstance(known.target, Path) else known.source.encode()
        told = json.dumps(settings, sort_keys=True).encode()
        return hashlib.sha256(code).hexdigest() + hashlib.sha256(told).hexdigest()

    def _forms(self, key: str, ask: Callable[[], Sequence[ToolForm]]) -> Sequence[ToolForm]:
        learned = self._learned.setdefault(key, _Known())
        with learned.lock:
            if learned.fault is not None and time.monotonic() < learned.until:
                raise learned.fault
            if learned.forms is None:
                try:
                    learned.forms, learned.fault = ask(), None
                except PluginError as fault:
                    learned.fault, learned.until = fault, time.monotonic() + _FAULT_SECONDS
                    raise
            return learned.forms

    def _launch(
        self, known: Known, settings: Mapping[str, JSONValue], directory: Path, where: str | None, info: BotInfo
    ) -> Launch:
        self._check(known, where)
        limits, file = self._limits, known.target if isinstance(known.target, Path) else None
        further = [self._project / path for path in limits.read]
        further += [file] if file else []
        further += [info.directory] if limits.bot_folder and info.bot else []
        hello: dict[str, object] = {
            "name": known.name,
            "source": known.source,
            "file": str(file) if file else "",
            "value": "" if isinstance(known.target, Path) else known.target.value,
            "where": where,
            "settings": dict(settings),
            "directory": str(directory),
            "bot": told_info(info),
            "strict": limits.enforce == "strict",
            "longest": limits.result_bytes,
            "walls": {
                "memory": limits.memory_mb << 20,
                "read": readable(self._project, limits.network, further),
                "network": limits.network,
            },
        }
        return Launch(
            label=f"plugin {known.name!r}" + (f" of {info.id}" if info.bot else ""),
            paths=tuple(module_paths(self._project)),
            environment=tuple(limits.environment),
            hello=hello,
            scratch=limits.scratch,
            start_seconds=limits.start_seconds,
            idle_seconds=limits.idle_seconds,
            result_bytes=limits.result_bytes,
        )
