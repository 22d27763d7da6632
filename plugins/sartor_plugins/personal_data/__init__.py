"""Keeps card numbers, IBANs, e-mail addresses and phone numbers out of a turn. See `PersonalDataSettings`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from sartor.plugin import Plugin, PluginSettings, hookimpl
from sartor.policy import Policy
from sartor.values import BotInfo

from sartor_plugins.personal_data.policy import PersonalData
from sartor_plugins.personal_data.settings import PersonalDataSettings

__all__ = ["PersonalDataPlugin", "PersonalDataSettings"]


class PersonalDataPlugin(Plugin):
    """One policy, `personal-data`, made from the settings of a bot."""

    Settings: ClassVar[type[PluginSettings]] = PersonalDataSettings
    hook_versions = "1"

    def __init__(self, settings: PersonalDataSettings, directory: Path) -> None:
        super().__init__(settings, directory)
        self._settings = settings

    @hookimpl
    def sartor_policies(self, bot: BotInfo) -> Sequence[Policy]:
        return [PersonalData(self._settings, bot)]
