"""What every plugin must be: settings that are documented, hooks that are sound, objects made without side effects."""

from __future__ import annotations

import asyncio
import inspect
import json
import warnings
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, TypeVar

import pytest

from sartor.hookversions import check_hook_versions
from sartor.plugin import Plugin, PluginSettings
from sartor.plugins import PluginSet
from sartor.testing.guard import NetworkGuard
from sartor.values import BotInfo, JSONValue, Turn

__all__ = ["ODD_TEXTS", "PluginSuite", "run", "undocumented"]

T = TypeVar("T")

ODD_TEXTS: Sequence[str] = (
    "",
    " \t\n\r ",
    "\x00\x07\x1b[31m",
    "é e\u0301 ﬁ ß İ ı ǆ",
    "👩‍👩‍👧‍👦 \u200b\u200d\ufeff\u202e",
    "ظ עברית 中文 ไทย",
    "\ud800 half a pair",
    "'; DROP TABLE turns; -- \" OR 1=1",
    "${company} {0} %s {{x}} <script>alert(1)</script>",
    "([{*+?\\|^$.",
    "NaN -0 1e999 0x41 ٣٤٥",
    "a" * 5000,
    "word " * 1500,
)
"""Texts that people and programs send, and that code seldom expects."""


def run(coroutine: Coroutine[object, object, T]) -> T:
    """What a coroutine gives, in a loop of its own, so that a suite needs no plugin of pytest."""
    return asyncio.run(coroutine)


def undocumented(settings: type[PluginSettings]) -> list[str]:
    """The names of settings without a text that says what they mean."""
    return [name for name, field in settings.model_fields.items() if not field.description]


class PluginSuite:
    """Tests of any plugin. Set `plugin`, and `settings` where it needs some."""

    plugin: ClassVar[type[Plugin]]
    settings: ClassVar[Mapping[str, JSONValue]] = {}
    """What stands under the plugin's name in a YAML file."""
    files: ClassVar[Mapping[str, str | bytes]] = {}
    """Files of the bot's folder by name, for plugins that read some."""
    examples: ClassVar[bool] = True
    """Whether the class gives examples. `sartor plugin check` sets it to false: what needs examples is skipped."""
    hooks: ClassVar[Sequence[str]] = ()
    """Hooks that the plugin must implement; a suite for a kind names its own."""

    # What tests are given

    @pytest.fixture
    def directory(self, tmp_path: Path) -> Path:
        """The bot's folder, with `files`."""
        return self.folder(tmp_path, "acme")

    @pytest.fixture
    def bot(self, tmp_path: Path, directory: Path) -> BotInfo:
        """The bot for which parts are built."""
        return self.info(tmp_path, "acme")

    @pytest.fixture
    def made(self, directory: Path) -> Plugin:
        """The plugin with its settings."""
        return self.make(directory)

    def folder(self, root: Path, tenant: str) -> Path:
        """The folder of the bot ``tenant/support`` below `root`, with `files`."""
        folder = root / "tenants" / tenant / "support"
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return folder

    def info(self, root: Path, tenant: str) -> BotInfo:
        """The bot ``tenant/support`` below `root`."""
        return BotInfo(tenant, "support", root / "tenants" / tenant / "support", root / "data" / tenant)

    def make(self, directory: Path) -> Plugin:
        """The plugin, made as the loader makes it."""
        made = self.plugin(self.plugin.Settings.model_validate(dict(self.settings)), directory)
        made.name = made.name or "tested"
        return made

    def turn(self, text: str = "", tenant: str = "acme", number: int = 1, audience: str = "") -> Turn:
        """A turn of a user."""
        return Turn(f"turn-{number}", f"conversation-{number}", tenant, "support", f"user-{number}", text, audience)

    def need(self, given: object, what: str) -> None:
        """Fail, or skip where no examples are expected, when `given` is empty."""
        if not given and not self.examples:
            pytest.skip(f"needs {what}")
        assert given, f"give the suite {what}"

    # The tests

    def test_every_setting_says_what_it_means(self) -> None:
        missing = undocumented(self.plugin.Settings)
        assert not missing, f"settings without a docstring: {', '.join(missing)}"

    def test_unknown_settings_are_refused(self) -> None:
        config = self.plugin.Settings.model_config
        assert issubclass(self.plugin.Settings, PluginSettings), "derive Settings from sartor.PluginSettings"
        assert config.get("extra") == "forbid", 'settings must forbid unknown keys: leave extra="forbid" in place'

    def test_the_settings_have_a_json_schema(self) -> None:
        assert json.dumps(self.plugin.Settings.model_json_schema())

    def test_the_plugin_says_what_it_is(self) -> None:
        assert inspect.getdoc(self.plugin), "the plugin's class needs a docstring: `sartor plugins NAME` shows it"

    def test_it_was_made_for_these_hooks(self) -> None:
        check_hook_versions(self.plugin, "tested")

    def test_its_hooks_are_sound_and_none_is_deprecated(self, made: Plugin) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)
            found = PluginSet([made]).hooks(made)
        assert found, "it implements no hook"
        missing = set(self.hooks) - set(found)
        assert not missing, f"it does not implement {', '.join(sorted(missing))}"

    def test_it_is_made_without_network_and_without_writing(self, directory: Path) -> None:
        before = _files(directory)
        with NetworkGuard().closed() as guard:
            self.make(directory)
        guard.check()
        assert _files(directory) == before, "the constructor wrote into the bot's folder"


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
