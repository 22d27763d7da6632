"""The base class of plugins."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from sartor.hookspecs import hookimpl

__all__ = ["Plugin", "PluginSettings", "hookimpl"]


class PluginSettings(BaseModel):
    """Base of a plugin's settings: what stands under its name in a YAML file. Unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Plugin:
    """A class behind an entry point of the group ``sartor.plugins``.

    Derive from it, declare `Settings`, mark hooks with `@hookimpl`. One object is made for each place that
    names the plugin (a bot, or an entry of `sartor.yaml`), so nothing is shared between bots unless the
    plugin shares it on purpose. The constructor must do no I/O.
    """

    Settings: ClassVar[type[PluginSettings]] = PluginSettings

    hook_versions: ClassVar[str] = ""
    """The hook versions that it was made for: ``1`` (any 1.x), ``1.2`` (1.2 and later 1.x), or several with commas
    between. Where ours is another one, the plugin is refused, and with it only the bots that name it. Empty: any."""

    name: str = ""
    """The name under which it was loaded; set by the loader."""

    def __init__(self, settings: PluginSettings, directory: Path) -> None:
        """`settings` is an instance of `Settings`; relative paths in it count from `directory`: the project's
        folder for what `sartor.yaml` names, the bot's folder for a bot's plugin, whichever layer names it."""
        self.settings = settings
        self.directory = directory

    async def check(self) -> Sequence[str]:
        """What is wrong now, though the bot could be built: one sentence each. `sartor doctor` asks for it of a
        bot's plugins, so it may take a while, and reach out to what the plugin needs."""
        return ()

    async def close(self) -> None:
        """Give back what the plugin opened. Called with the end of the bot that names it, perhaps twice, and
        perhaps in another event loop than the one in which it was opened."""
