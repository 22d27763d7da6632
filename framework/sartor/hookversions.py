"""Whether a plugin was made for hooks such as ours."""

from __future__ import annotations

import re

from sartor.errors import PluginError
from sartor.hookspecs import VERSION
from sartor.plugin import Plugin

__all__ = ["check_hook_versions", "fits"]

_STATED = re.compile(r"\d+(\.\d+)?(\s*,\s*\d+(\.\d+)?)*")


def check_hook_versions(made: type[Plugin], name: str, *, where: str | None = None) -> None:
    """Raises `PluginError` for a plugin that was made for other hooks than ours, or says so in no form that we know."""
    stated = made.hook_versions
    if not isinstance(stated, str) or (stated and not _STATED.fullmatch(stated)):
        raise PluginError(
            f"plugin {name!r}: hook_versions is {stated!r}",
            where=where,
            remedy='Write hook_versions = "1" (any 1.x), "1.2" (1.2 and later 1.x), or several with commas between.',
        )
    if stated and not fits(stated, VERSION):
        raise PluginError(
            f"plugin {name!r} was made for hook version {stated}; this is Sartor with hook version {VERSION}",
            where=where,
            remedy="Install a release of the plugin for this version. Bots that do not name it go on working.",
        )


def fits(stated: str, version: str) -> bool:
    """Whether hooks of `version` are among those that `stated` names: ``1`` is any 1.x, ``1.2`` is 1.2 and later."""
    major, minor = map(int, version.split("."))
    for one in stated.split(","):
        wanted, _, least = one.strip().partition(".")
        if int(wanted) == major and minor >= int(least or 0):
            return True
    return False
