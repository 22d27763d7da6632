"""An open project: its bots, the models that they share, and the state database."""

from __future__ import annotations

import inspect
import shutil
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

from sartor.bot import Bot, close_plugin
from sartor.building import alerts_of, channels_of, policies_of, retrievers_of, tools_of
from sartor.errors import DiskError, NamingError, PluginError, SartorError
from sartor.flows.check import check_flows
from sartor.knowledge import Knowledge
from sartor.lockfile import catalog_of
from sartor.names import split_bot_id
from sartor.observing import Observer, Observers
from sartor.parts import BotParts
from sartor.plugin import Plugin
from sartor.plugins import PluginSet
from sartor.project import EffectiveBot, Project
from sartor.reloading import Reloading
from sartor.retrieval import Index, Reader, Retriever
from sartor.spec import PluginUse
from sartor.store import Store

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings
    from langchain_core.language_models import BaseChatModel

__all__ = ["Bots", "open_project"]

_NEEDED = {
    "sartor_model": "astream",
    "sartor_embeddings": "aembed_query",
    "sartor_readers": "items",
    "sartor_index": "search",
}
"""For each hook of the project, an attribute that tells its kind of object without importing LangChain."""


@asynccontextmanager
async def open_project(path: str | Path = ".", *, reload: bool = False) -> AsyncIterator[Bots]:
    """Open the project in the folder `path`: ``async with sartor.open("project") as bots: …``.

    Raises `SpecError` for a faulty `sartor.yaml` and `StoreError` when the state database cannot be opened. Models
    are loaded and indexes opened on their first use. With `reload`, what changes in its files while it is open counts
    from the next turn on (see docs/how-to/develop-with-reload.md).
    """
    project = Project(Path(path))
    async with await Store.open(project.state_url) as store:
        bots = Bots(project, store, reload=reload)
        try:
            yield bots
        finally:
            await bots.close()


class Bots(Mapping[str, Bot]):
    """The bots of an open project by id: ``bots["acme/support"]``. A bot is built when it is first asked for."""

    def __init__(self, project: Project, store: Store, *, reload: bool = False) -> None:
        self.project = project
        self.store = store
        self.catalog = catalog_of(project)
        self._bots: dict[str, Bot] = {}
        self._knowledge: dict[str, Knowledge] = {}
        self._models: dict[str, BaseChatModel] = {}
        self._parts: dict[str, tuple[Plugin, PluginSet]] = {}
        self._embeddings: Embeddings | None = None
        self._lent: list[BotParts] = []
        self.observers: list[Observer] = self._observers()
        """Told what happens in the turns of all bots; a host may add its own."""
        self._reloading = Reloading(project, self.catalog, self._parts_of, lambda: self._models) if reload else None

    def __getitem__(self, bot_id: str) -> Bot:
        """The bot ``tenant/bot``. Raises `NamingError`, `SpecError`, `TemplateError` or `PluginError`."""
        if bot_id not in self._bots:
            self._bots[bot_id] = self._build(bot_id)
        elif self._reloading:
            self._reloading.renew(bot_id)
        return self._bots[bot_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self.project.bots())

    def __len__(self) -> int:
        return len(self.project.bots())

    def __contains__(self, bot_id: object) -> bool:
        return isinstance(bot_id, str) and self.project.has_bot(bot_id)

    async def start(self, bot_id: str) -> Bot:
        """A bot that is ready to answer at once: its model loaded. Raises `ModelError` when that fails."""
        bot = self[bot_id]
        model = self.model(bot.spec.model or self.project.spec.model)
        if start := getattr(model, "start", None):
            await start()
        return bot

    def model(self, name: str = "") -> BaseChatModel:
        """The model of that name in `sartor.yaml`, one object for the whole project; not loaded by this."""
        name = name or self.project.spec.model
        if name not in self._models:
            if name not in self.project.spec.models:
                raise NamingError(
                    f"there is no model {name!r}", remedy=f"It has: {', '.join(self.project.spec.models)}."
                )
            made = self._part(f"models.{name}", self.project.spec.models[name], "sartor_model")
            self._models[name] = cast("BaseChatModel", made)
        return self._models[name]

    @property
    def models(self) -> Mapping[str, BaseChatModel]:
        """The models that were asked for so far, by their names in `sartor.yaml`."""
        return dict(self._models)

    def knowledge(self, bot_id: str) -> Knowledge:
        """The documents of a bot: to ingest, to search, to rebuild."""
        if bot_id not in self._knowledge:
            return self._knowledge_of(self.project.bot(bot_id))
        return self._knowledge[bot_id]

    async def erase(self, tenant: str) -> dict[str, int]:
        """Forget a tenant: state database, indexes, and what models keep of its prompts. Its files in `tenants/`
        stay. Rows removed, by table.

        What keeps the index of one bot from being cleared is raised after everything else is erased.
        """
        folder = self.project.data(tenant)
        faults: list[SartorError] = []
        for bot_id in [bot_id for bot_id in self._bots if split_bot_id(bot_id)[0] == tenant]:
            await self._bots.pop(bot_id).close()
        for bot_id in self.project.bots(tenant):
            try:
                knowledge = self.knowledge(bot_id)
                await knowledge.clear_index()
                await knowledge.close()
                del self._knowledge[bot_id]
            except SartorError as error:
                faults.append(error)
        for model in self._models.values():
            if forget := getattr(model, "forget", None):
                await forget(tenant)
        gone = await self.store.tenant(tenant).erase()
        _remove_folder(folder)
        if faults:
            raise faults[0]
        return gone

    async def close(self) -> None:
        """End turns that run, close indexes, unload models."""
        if self._reloading:
            await self._reloading.close()
        for bot in list(self._bots.values()):
            await bot.close()
        for lent in self._lent:
            for plugin in lent.plugins:
                await close_plugin(plugin, lent.info.id)
        for knowledge in list(self._knowledge.values()):
            await knowledge.close()
        embeddings = [self._embeddings] if self._embeddings else []
        for thing in [*self._models.values(), *embeddings, *self.observers]:
            if close := getattr(thing, "close", None):
                result = close()
                if inspect.isawaitable(result):
                    await result

    def parts(self, bot_id: str) -> BotParts:
        """What a bot is made of, with plugin objects of its own, to make another of it. They are closed with the
        project. Raises like `[bot_id]`."""
        self._lent.append(self._parts_of(self.project.bot(bot_id)))
        return self._lent[-1]

    def _build(self, bot_id: str) -> Bot:
        return self._reloading.bot(bot_id) if self._reloading else Bot(self._parts_of(self.project.bot(bot_id)))

    def _parts_of(self, effective: EffectiveBot, made: list[Plugin] | None = None) -> BotParts:
        """The parts of a bot; its plugins are noted in `made` as they come, for who has to close them."""
        info, spec = effective.info, effective.spec
        made = [] if made is None else made
        for name, settings in spec.plugins.items():
            made.append(self.catalog.make(name, settings, info.directory, effective.merged.place(("plugins", name))))
        plugins = PluginSet(made)
        retrievers: list[Retriever] = [self._knowledge_of(effective)] if spec.retrieval.passages else []
        retrievers += retrievers_of(plugins, info)
        model_name = spec.model or self.project.spec.model
        tools = tools_of(plugins, info)
        check_flows(spec, tools, effective.merged.place)
        channels = channels_of(plugins, info)
        return BotParts(
            info=info,
            spec=spec,
            instructions=effective.instructions,
            model=self.model(model_name),
            model_name=model_name,
            retrievers=retrievers,
            tools=tools,
            policies=policies_of(plugins, info),
            channels=channels,
            alerts=alerts_of(spec.hand_over, channels, effective.merged.place(("hand_over", "channel"))),
            plugins=plugins.plugins,
            store=self.store.tenant(info.tenant),
            share=effective.plan.share,
            observers=Observers(self.observers),
        )

    def _knowledge_of(self, effective: EffectiveBot) -> Knowledge:
        if effective.info.id not in self._knowledge:
            self._knowledge[effective.info.id] = self._documents(effective)
        return self._knowledge[effective.info.id]

    def _documents(self, effective: EffectiveBot) -> Knowledge:
        info, spec = effective.info, self.project.spec
        index = self._part("index", spec.index, "sartor_index", bot=info, embeddings=self.embeddings())
        store, make = self.store.tenant(info.tenant), self._reloading.knowledge if self._reloading else Knowledge
        return make(info, store, cast("Index", index), self._readers(), effective.spec.retrieval.words)

    def _observers(self) -> list[Observer]:
        made: list[Observer] = []
        for name, settings in self.project.spec.observers.items():
            where = self.project.file.place(("observers", name))
            plugin = self.catalog.make(name, settings, self.project.directory, where)
            for _, given in PluginSet([plugin]).collect("sartor_observers"):
                if not isinstance(given, Observer):
                    what = f"sartor_observers gave a {type(given).__name__}, not an Observer"
                    raise PluginError(f"plugin {name!r}: {what}", where=where)
                given.name = given.name or name
                made.append(given)
        return made

    def embeddings(self) -> Embeddings | None:
        """What turns texts into vectors; None where the project has keyword search only."""
        if self.project.spec.embeddings is not None and self._embeddings is None:
            made = self._part("embeddings", self.project.spec.embeddings, "sartor_embeddings")
            self._embeddings = cast("Embeddings", made)
        return self._embeddings

    def _readers(self) -> Mapping[str, Reader]:
        readers: dict[str, Reader] = {}
        for name in self.project.spec.readers:
            found = self._part("readers", PluginUse(plugin=name), "sartor_readers")
            for suffix, reader in cast("Mapping[str, Reader]", found).items():
                readers.setdefault(suffix, reader)
        return readers

    def _part(self, key: str, use: PluginUse, hook: str, **arguments: object) -> object:
        """What the plugin that `sartor.yaml` names at `key` builds. The plugin object is made once."""
        where = self.project.file.place(tuple(key.split(".")))
        known = f"{key}:{use.plugin}"
        if known not in self._parts:
            plugin = self.catalog.make(use.plugin, use.settings, self.project.directory, where)
            self._parts[known] = (plugin, PluginSet([plugin]))
        for _, built in self._parts[known][1].ask(hook, **arguments):
            if not hasattr(built, _NEEDED[hook]):
                what = f"{hook} gave a {type(built).__name__}, which has no {_NEEDED[hook]!r}"
                raise PluginError(f"plugin {use.plugin!r}: {what}", where=where)
            return built
        raise PluginError(
            f"plugin {use.plugin!r} gives no {hook.removeprefix('sartor_')}",
            where=where,
            remedy=f"{key} needs a plugin that implements {hook}; `sartor plugins` tells which do.",
        )


def _remove_folder(folder: Path) -> None:
    try:
        if folder.is_dir():
            shutil.rmtree(folder)
    except OSError as error:
        raise DiskError(
            f"cannot be removed: {error.strerror or error}", where=str(folder), remedy="Remove it by hand."
        ) from error
