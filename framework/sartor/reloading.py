"""Bots that are made anew when their files change: for those who work on them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sartor.bot import Bot, close_plugin
from sartor.errors import SartorError
from sartor.freshmodules import FreshModules
from sartor.parts import BotParts
from sartor.plugin import Plugin
from sartor.plugins import Catalog
from sartor.project import EffectiveBot, Project
from sartor.spec import ProjectSpec
from sartor.stamps import SOURCES, Stamps, changed, settled, stamps
from sartor.watchedknowledge import WatchedKnowledge

if TYPE_CHECKING:
    from sartor.knowledge import KnowledgeStore
    from sartor.retrieval import Index, Reader
    from sartor.values import BotInfo

__all__ = ["Reloading"]

log = logging.getLogger("sartor.reload")

_ELSEWHERE = frozenset({"knowledge", "tests"})
"""Folders of a bot that do not make it another one: documents are watched by `WatchedKnowledge`."""
_MOST = 5
_LIVE = ("model", "prices", "tenant_plugins", "plans", "bots")
"""Keys of `sartor.yaml` that a project which is open can take."""

MakeParts = Callable[[EffectiveBot, list[Plugin]], BotParts]
"""Makes the parts of a bot. Plugins are noted in the list as they are made, in case that it fails."""


@dataclass
class _Watched:
    """A bot, and how its files looked when it was made, or when that was tried last."""

    bot: Bot
    places: Sequence[Path]
    seen: Stamps = field(default_factory=dict)
    failed: bool = False


class Reloading:
    """The watch over the files of an open project. Before a turn, it makes the turn's bot anew if they changed."""

    def __init__(
        self, project: Project, catalog: Catalog, parts: MakeParts, models: Callable[[], Collection[str]]
    ) -> None:
        """`models` tells the names of the models that are made already: they stay as they are."""
        self._project = project
        self._parts = parts
        self._models = models
        self._modules = FreshModules(catalog)
        self._watched: dict[str, _Watched] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._version = 0
        self._yaml = stamps([project.file.path])
        self._shared = self._modules.places(_shared_plugins(project.spec))
        self._code = stamps(self._shared, suffixes=SOURCES)
        with self._modules.fresh(_shared_plugins(project.spec)):
            pass  # it notes how they look now, when they are imported
        self._documents = {bot_id: _documents(project, bot_id) for bot_id in project.bots()}

    def bot(self, bot_id: str) -> Bot:
        """The bot, made for the first time. Raises what making it raises."""
        self._take_project()
        places = self._places(self._project.bot(bot_id))
        seen = self._look(places)
        bot = Bot(self._made(bot_id), before=lambda: self.renew(bot_id))
        self._watched[bot_id] = _Watched(bot, places, seen)
        return bot

    def renew(self, bot_id: str) -> None:
        """Make the bot anew if its files have changed. If that fails, it is told, and the bot stays as it was."""
        watched = self._watched.get(bot_id)
        if watched is None or not _in_loop():
            return
        self._take_project()
        places = self._everything(watched)
        if (now := self._look(places)) == watched.seen:
            return
        now = settled(lambda: self._look(places), now)
        what = self._names(changed(watched.seen, now), watched.bot.info.directory)
        try:
            new = self._places(self._project.bot(bot_id))
            now = self._look(new)
            parts = self._made(bot_id)
        except Exception as error:
            watched.failed = True
            watched.seen = self._look(self._everything(watched))
            told = error if isinstance(error, SartorError) else f"{type(error).__name__}: {error}"
            log.error("%s: NOT reloaded (%s); it goes on as it was until this is mended: %s", bot_id, what, told)
            return
        watched.places, watched.seen, watched.failed = new, now, False
        watched.bot.renew(parts)
        for retriever in parts.retrievers:
            if isinstance(retriever, WatchedKnowledge):
                retriever.cut(parts.spec.retrieval.words)
        log.info("%s: reloaded (%s)", bot_id, what)

    def knowledge(
        self, bot: BotInfo, store: KnowledgeStore, index: Index, readers: Mapping[str, Reader], words: int
    ) -> WatchedKnowledge:
        """The documents of a bot, watched from the opening of the project on."""
        return WatchedKnowledge(bot, store, index, readers, words, self._documents.pop(bot.id, {}))

    async def close(self) -> None:
        """Watch no more."""
        self._watched.clear()
        await asyncio.gather(*self._closing)

    def _made(self, bot_id: str) -> BotParts:
        effective = self._project.bot(bot_id)
        made: list[Plugin] = []
        try:
            with self._modules.fresh(effective.spec.plugins):
                return self._parts(effective, made)
        except BaseException:
            self._later(_close(made, bot_id))
            raise

    def _places(self, effective: EffectiveBot) -> list[Path]:
        """All that the bot is made of: its layers, its own files, its template, the modules of its plugins."""
        places = [effective.info.directory, effective.info.directory.parent / "tenant.yaml"]
        if template := effective.template:
            places += [template.directory / "template.yaml", template.directory / "bot.yaml"]
        return [*places, *self._modules.places(effective.spec.plugins)]

    def _everything(self, watched: _Watched) -> list[Path]:
        """After a failure, what mends it may be in a file that the bot has not had before."""
        more = [self._project.directory / "plugins", self._project.directory / "templates"] if watched.failed else []
        return [*watched.places, *more]

    def _look(self, places: Sequence[Path]) -> Stamps:
        home, *others = places
        own = stamps([home], suffixes=SOURCES, without=_ELSEWHERE)
        return {**own, **stamps(others, suffixes=SOURCES), self._project.file.path: (self._version, 0, 0)}

    def _take_project(self) -> None:
        """Take what `sartor.yaml` says now, as far as a project that is open can; tell what it cannot."""
        if (now := stamps([self._project.file.path])) != self._yaml:
            self._yaml = settled(lambda: stamps([self._project.file.path]), now)
            try:
                fresh = Project(self._project.directory)
            except SartorError as error:
                log.error("sartor.yaml: NOT reloaded; what it said before goes on until this is mended: %s", error)
            else:
                self._take(fresh)
        if (now := stamps(self._shared, suffixes=SOURCES)) != self._code:
            names = ", ".join(map(self._name, changed(self._code, now)))
            log.warning("%s: restart to take it for models, index, readers and observers, which are made once", names)
            self._code = now

    def _take(self, fresh: Project) -> None:
        old, new = self._project.spec, fresh.spec
        made = {name: old.models[name] for name in self._models() if name in old.models}
        taken = old.model_copy(
            update={**{key: getattr(new, key) for key in _LIVE}, "models": {**new.models, **made}},
        )
        late = [f"models.{name}" for name, use in made.items() if new.models.get(name) != use]
        keys = [key for key in ProjectSpec.model_fields if key != "models"]
        late += [key for key in keys if getattr(taken, key) != getattr(new, key)]
        self._project.file = fresh.file
        if taken != old:
            self._project.spec = taken
            self._version += 1
        if late:
            log.warning("sartor.yaml: restart to take %s", ", ".join(late))

    def _later(self, work: Coroutine[object, object, None]) -> None:
        if not _in_loop():
            return work.close()
        task = asyncio.create_task(work)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _names(self, files: Sequence[Path], home: Path) -> str:
        """The first few by name: a bot's own as seen from its folder, others from the project's."""
        told = [file.relative_to(home).as_posix() if file.is_relative_to(home) else self._name(file) for file in files]
        return ", ".join(told[:_MOST]) + (f" and {len(told) - _MOST} more" if len(told) > _MOST else "")

    def _name(self, file: Path) -> str:
        root = self._project.directory
        return file.relative_to(root).as_posix() if file.is_relative_to(root) else "/".join(file.parts[-2:])


async def _close(plugins: Sequence[Plugin], bot_id: str) -> None:
    for plugin in plugins:
        await close_plugin(plugin, bot_id)


def _documents(project: Project, bot_id: str) -> Stamps:
    folder = project.directory / "tenants" / bot_id / "knowledge"
    return stamps([folder]) if folder.is_dir() else {}


def _shared_plugins(spec: ProjectSpec) -> list[str]:
    """The plugins that `sartor.yaml` names: their objects are made once for all bots."""
    uses = [*spec.models.values(), spec.index, *([spec.embeddings] if spec.embeddings else [])]
    return [*(use.plugin for use in uses), *spec.readers, *spec.observers]


def _in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
