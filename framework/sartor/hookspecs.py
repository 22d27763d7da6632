"""The plugin contract: every hook, in the order in which a project comes to life and a turn runs.

A plugin is a class behind an entry point of the group ``sartor.plugins`` (or the one class of a file in the
project's `plugins/` folder) that derives from `sartor.Plugin` and marks the hooks that it implements with
`@sartor.hookimpl`. Hooks are plain functions: they are called once, when a project or a bot is built, and
return objects whose own methods are async. An implementation names only the arguments that it needs.

Compatible changes (a hook or an argument is added) raise the second number of `VERSION`, all others the first. An
argument that will go is marked with `retiring` first, for at least one release.

Nothing is imported here at run time but pluggy, so a plugin may import this module freely.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_core.embeddings import Embeddings
    from langchain_core.language_models import BaseChatModel
    from langchain_core.retrievers import BaseRetriever
    from langchain_core.tools import BaseTool

    from sartor.channels import Channel
    from sartor.modelfile import ModelFile
    from sartor.observing import Observer
    from sartor.policy import Policy
    from sartor.retrieval import Index, Reader, Retriever
    from sartor.tools import Tool
    from sartor.values import BotInfo

__all__ = ["VERSION", "hookimpl", "hookspec", "retiring"]

VERSION = "1.0"
"""The version of the hooks; a plugin states with `hook_versions` for which it was made."""

hookspec = pluggy.HookspecMarker("sartor")
hookimpl = pluggy.HookimplMarker("sartor")


def retiring(argument: str, *, gone: str, instead: str) -> DeprecationWarning:
    """The warning for implementations that still name `argument`, which goes with Sartor `gone`:
    ``@hookspec(warn_on_impl_args={"embeddings": retiring("embeddings", gone="0.3", instead="bot.embeddings")})``."""
    return DeprecationWarning(f"the hook's argument {argument!r} goes with Sartor {gone}: use {instead}")


# The project: called once for each plugin that `sartor.yaml` names in this place.


@hookspec
def sartor_model() -> BaseChatModel:  # type: ignore[empty-body]
    """The model that bots speak with (``models: {NAME: {plugin: …}}`` in `sartor.yaml`).

    Any LangChain chat model will do. One whose attribute `supports_choices` is true is given
    `sartor.values.Choices` as the keyword argument `choices` for quotation. Constructors must be light: load
    weights on the first call, or in `start()` if the object has one; `close()` is called at the end if it has
    one. `workload()`, if it has one, tells at any time how busy it is (`sartor.values.Workload`).
    """


@hookspec
def sartor_embeddings() -> Embeddings:  # type: ignore[empty-body]
    """Vectors of texts (``embeddings: {plugin: …}`` in `sartor.yaml`)."""


@hookspec
def sartor_model_files() -> Sequence[ModelFile]:  # type: ignore[empty-body]
    """The files on this machine that a model or the embeddings are read from.

    `sartor model` lists, verifies, pins and removes them, `sartor doctor` checks that they are there. It is asked
    of any plugin under ``models`` and ``embeddings``; one whose model is no file leaves it out. Nothing is opened
    yet: a file is looked into by the `look` of what is returned.
    """


@hookspec
def sartor_readers() -> Mapping[str, Reader]:  # type: ignore[empty-body]
    """Readers of document files by suffix, such as ``{".md": read_markdown}`` (``readers: […]``)."""


@hookspec
def sartor_index(bot: BotInfo, embeddings: Embeddings | None) -> Index:  # type: ignore[empty-body]
    """The search index over one bot's documents (``index: {plugin: …}`` in `sartor.yaml`)."""


@hookspec
def sartor_observers() -> Sequence[Observer]:  # type: ignore[empty-body]
    """Objects that are told what happens in the turns of all bots (``observers: {NAME: {…}}`` in `sartor.yaml`).

    They change nothing; one that raises is logged, and the turn goes on. `close()` is called at the end if there
    is one.
    """


# A bot: called once for each plugin that the bot names, when the bot is built.


@hookspec
def sartor_retrievers(bot: BotInfo) -> Sequence[Retriever | BaseRetriever]:  # type: ignore[empty-body]
    """Further sources of passages, asked beside the bot's own documents in every turn."""


@hookspec
def sartor_tools(bot: BotInfo) -> Sequence[Tool | BaseTool]:  # type: ignore[empty-body]
    """Tools that the model of this bot may ask for."""


@hookspec
def sartor_policies(bot: BotInfo) -> Sequence[Policy]:  # type: ignore[empty-body]
    """Policies that judge every turn of this bot, asked in the order in which the bot names their plugins."""


@hookspec
def sartor_channels(bot: BotInfo) -> Sequence[Channel]:  # type: ignore[empty-body]
    """Ways in and out of this bot beside the API: `sartor serve` takes their messages at
    ``/channels/NAME/TENANT/BOT``, where `NAME` is the plugin's, unless a channel has a name of its own.

    A channel is the only one to check who sent a request, by its signature. Constructors must be light: `start()`
    is called before the first request, `close()` with the bot.
    """
