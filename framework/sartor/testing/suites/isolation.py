"""Whether the objects that one plugin makes for two tenants share anything that one could observe of the other."""

from __future__ import annotations

import contextlib
import gc
import types
from collections.abc import Iterator, Sequence
from enum import Enum
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel

from sartor.building import channels_of, policies_of, retrievers_of, tools_of
from sartor.plugins import PluginSet
from sartor.testing.suites.base import PluginSuite

__all__ = ["IsolationSuite", "reach"]

_CHANGEABLE = (list, dict, set, bytearray)


class IsolationSuite(PluginSuite):
    """Tests that two tenants' objects of one plugin are apart. The suites of bot plugins inherit them."""

    shared: ClassVar[Sequence[type]] = ()
    """Classes of objects that tenants may share: those that tell nobody of another, such as a pool of connections."""

    def built(self, root: Path, tenant: str) -> list[object]:
        """All that the plugin builds for the bot ``tenant/support``."""
        plugins = PluginSet([self.make(self.folder(root, tenant))])
        bot = self.info(root, tenant)
        tools = tools_of(plugins, bot).values()
        return [*tools, *policies_of(plugins, bot), *retrievers_of(plugins, bot), *channels_of(plugins, bot)]

    def test_two_tenants_share_nothing_that_can_change(self, tmp_path: Path) -> None:
        one, other = self.built(tmp_path, "acme"), self.built(tmp_path, "borealis")
        fixed = {id(thing) for thing in _of_classes(self.plugin)}
        first, second = reach(one), reach(other)
        common = [first[key] for key in first.keys() & second.keys() if key not in fixed]
        found = [thing for thing in common if self._can_change(thing)]
        assert not found, (
            f"objects of two tenants share {', '.join(sorted({_told(thing) for thing in found}))}; make one for each "
            "bot in the hook, or name the class in `shared` where nothing of a tenant is in it"
        )

    def test_nothing_of_one_tenant_leads_to_the_other(self, tmp_path: Path) -> None:
        one, other = reach(self.built(tmp_path, "acme")), reach(self.built(tmp_path, "borealis"))
        for things, foreign in ((one, "borealis"), (other, "acme")):
            told = [thing for thing in things.values() if isinstance(thing, str) and thing == foreign]
            assert not told, f"an object of one tenant leads to the name of the other, {foreign!r}"

    def _can_change(self, thing: object) -> bool:
        if isinstance(thing, self.shared if isinstance(self.shared, tuple) else tuple(self.shared)):
            return False
        if type(thing) in _CHANGEABLE:
            return not _constant(thing)
        parameters = getattr(type(thing), "__dataclass_params__", None)
        if parameters is not None and parameters.frozen:
            return False
        own = type(thing).__module__.partition(".")[0] == self.plugin.__module__.partition(".")[0]
        return own and hasattr(thing, "__dict__")


def reach(start: object, beyond: tuple[type, ...] = ()) -> dict[int, object]:
    """Everything that can be reached from `start` by references, less what a process shares: modules, classes,
    the globals of functions, loggers, settings' models; and less what only leads through objects of `beyond`."""
    seen: dict[int, object] = {}
    pending = [start]
    while pending:
        thing = pending.pop()
        if id(thing) in seen or isinstance(thing, beyond) or _of_process(thing):
            continue
        seen[id(thing)] = thing
        if isinstance(thing, types.FunctionType):
            for cell in thing.__closure__ or ():
                with contextlib.suppress(ValueError):
                    pending.append(cell.cell_contents)
            pending += [thing.__defaults__, thing.__kwdefaults__]
        elif isinstance(thing, types.MethodType):
            pending.append(thing.__self__)
        else:
            pending += gc.get_referents(thing)
            pending += list(thing) if isinstance(thing, dict) else ()  # keys that are texts are no referents
    return seen


def _of_process(thing: object) -> bool:
    if isinstance(
        thing, Enum | type | types.ModuleType | types.CodeType | types.BuiltinFunctionType | types.FrameType | property
    ):
        return True
    if isinstance(thing, BaseModel) and type(thing).model_config.get("frozen"):
        return True
    return type(thing).__module__.partition(".")[0] in (
        "_abc", "asyncio", "_asyncio", "enum", "functools", "inspect", "logging", "pydantic", "pydantic_core",
        "re", "ssl", "threading", "_thread", "typing", "weakref",
    )  # fmt: skip


def _constant(thing: object) -> bool:
    """Whether a container has texts and numbers only: a table of constants, which is not filled by turns."""
    if isinstance(thing, dict):
        return bool(thing) and all(isinstance(one, str | int | float) for one in thing.values())
    return isinstance(thing, list | set) and bool(thing) and all(isinstance(one, str | int | float) for one in thing)


def _of_classes(plugin: type) -> Iterator[object]:
    """What hangs on the plugin's own module: its constants, which all its objects may use."""
    module = __import__("sys").modules.get(plugin.__module__)
    for value in vars(module).values() if module is not None else ():
        if not isinstance(value, type | types.ModuleType | types.FunctionType):
            yield from reach(value).values()


def _told(thing: object) -> str:
    return f"a {type(thing).__name__} with {len(thing)} items" if isinstance(thing, _CHANGEABLE) else repr(type(thing))
