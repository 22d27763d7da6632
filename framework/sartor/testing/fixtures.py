"""Fixtures for tests of bots and plugins: a plugin of pytest, found by itself where Sartor is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sartor.testing.clock import FrozenClock
from sartor.testing.guard import NetworkGuard
from sartor.testing.project import write_project

if TYPE_CHECKING:
    from sartor.plugin import Plugin
    from sartor.testing.scripted import Line, ScriptedModel

__all__ = ["frozen_clock", "network_guard", "sartor_project", "scripted_model"]

pytest.register_assert_rewrite("sartor.testing.suites")


@pytest.fixture
def sartor_project(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """A project in a temporary folder, with the bot ``acme/support`` and a scripted model.

    ``sartor_project(script=["Hello."], plugins={"orders": {}}, files={"tenants/acme/support/orders.csv": "…"})`` gives
    its folder, for `sartor.open`. `script` holds texts, `Call`, `Say` and `Fail`; `bot` further keys of `bot.yaml`;
    ``classes={"orders": OrdersPlugin}`` makes a plugin known that is not installed.
    At the end, the test fails if the script was wrong, even where the bot made a reply of it.
    """
    from sartor.testing.parts import ScriptedPlugin

    roots: list[Path] = []

    def make(
        script: Sequence[object] = (),
        *,
        plugins: Mapping[str, object] | None = None,
        files: Mapping[str, str] | None = None,
        classes: Mapping[str, type[Plugin]] | None = None,
        bot: Mapping[str, object] | None = None,
        choices: bool = False,
    ) -> Path:
        root = (tmp_path / f"project-{len(roots) + 1}").resolve()
        write_project(root, script, plugins=plugins, files=files, classes=classes, bot=bot, choices=choices)
        roots.append(root)
        ScriptedPlugin.made[root] = []
        return root

    yield make
    faults = [fault for root in roots for model in ScriptedPlugin.made.pop(root) for fault in model.faults]
    assert not faults, f"the script of the test is wrong: {'; '.join(faults)}"


@pytest.fixture
def scripted_model() -> Iterator[Callable[..., ScriptedModel]]:
    """``scripted_model("Hello.", Call("hours", {"city": "Cork"}))`` makes a model; a wrong script fails the test."""
    from sartor.testing.scripted import ScriptedModel

    made: list[ScriptedModel] = []

    def make(*script: Line, **more: object) -> ScriptedModel:
        made.append(ScriptedModel(script=list(script), **more))  # type: ignore[arg-type]
        return made[-1]

    yield make
    faults = [fault for model in made for fault in model.faults]
    assert not faults, f"the script of the test is wrong: {'; '.join(faults)}"


@pytest.fixture
def frozen_clock() -> FrozenClock:
    """A clock that stands at noon on 1 January 2026 until the test moves it; see `sartor.testing.steady`."""
    return FrozenClock()


@pytest.fixture
def network_guard() -> Iterator[NetworkGuard]:
    """Refuses connections to anywhere but this machine, and fails the test that tried, even where it caught that."""
    with NetworkGuard().closed() as guard:
        yield guard
    guard.check()
