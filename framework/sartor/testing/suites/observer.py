"""Tests of plugins that give observers."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest

import sartor
from sartor.observing import Observer
from sartor.plugins import PluginSet
from sartor.testing.desk import DeskPlugin
from sartor.testing.guard import NetworkGuard
from sartor.testing.project import write_project
from sartor.testing.scenes import BOT, MARK, SCENES, play
from sartor.testing.suites.base import PluginSuite, run
from sartor.testing.suites.isolation import reach
from sartor.testing.watching import ObserverWatch
from sartor.values import ToolStarted, TurnOptions

if TYPE_CHECKING:
    from sartor.bots import Bots

__all__ = ["ObserverSuite"]

_EVERY_SCENE = pytest.mark.parametrize("scene", SCENES)


class ObserverSuite(PluginSuite):
    """Tests of observers: no turn breaks them, they change none, they let go of turns that are over, and of what was
    said.

    They are told of real turns of two bots, which end in every way there is. There is no network meanwhile: what an
    observer sends elsewhere does not arrive.
    """

    hooks: ClassVar[Sequence[str]] = ("sartor_observers",)
    keeps_text: ClassVar[bool] = False
    """Whether what users, bots and tools say may be in the observer, in what it logs, and in what it passes on. It is
    stated here once more, so that nobody turns it on by mistake."""
    keeps_turns: ClassVar[bool] = False
    """Whether it holds turns that are over: to send them in batches, or to show the last ones."""
    beyond: ClassVar[Sequence[type]] = ()
    """Classes of what belongs to others, such as a client: nothing is searched for in there."""

    def passed_on(self) -> str:
        """All that the observers have passed on in this test, to be searched for what was said: spans, lines, rows.
        What they log and print is searched anyway."""
        return ""

    def observers(self, root: Path) -> list[Observer]:
        """The observers of one project, from a plugin object of its own."""
        given: list[Observer] = []
        with NetworkGuard().closed() as guard:
            for plugin, observer in PluginSet([self.make(root)]).collect("sartor_observers"):
                assert isinstance(observer, Observer), f"a {type(observer).__name__}, not an Observer"
                observer.name = observer.name or plugin.name
                given.append(observer)
        guard.check()
        self.need(given, "settings with which it gives observers")
        return given

    @asynccontextmanager
    async def project(
        self, root: Path, scenes: Sequence[str], watch: ObserverWatch | None = None
    ) -> AsyncIterator[Bots]:
        """An open project of two bots whose model speaks as the scenes say, with the observers of `watch`."""
        write_project(
            root,
            [line for scene in scenes for line in SCENES[scene].script],
            classes={"desk": DeskPlugin},
            files={f"tenants/{tenant}/support/bot.yaml": json.dumps(dict(BOT)) for tenant in ("acme", "globex")},
        )
        with NetworkGuard().closed():
            async with sartor.open(root) as bots:
                if watch is not None:
                    bots.observers[:] = watch.row
                yield bots

    def watched(self, root: Path, scenes: Sequence[str]) -> tuple[ObserverWatch, list[str], list[tuple[object, ...]]]:
        """The observers that were told of the scenes, one after the other; the texts that could be reached from them
        after the last; and what came of each scene."""
        watch, held, played = ObserverWatch(self.observers(root)), list[str](), list[tuple[object, ...]]()

        async def work() -> None:
            async with self.project(root, scenes, watch) as bots:
                for number, scene in enumerate(scenes):
                    played.append(await play(bots, SCENES[scene], f"xyloturn-{number:03}"))
                held.extend(self.held(watch.observers))

        with watch.listening():
            run(work())
        assert [ends for *_, ends in played] == [SCENES[scene].ends for scene in scenes]
        assert not watch.open, f"Sartor told of no end, or of two: {watch.open}"
        return watch, held, played

    def held(self, observers: Sequence[Observer]) -> Iterator[str]:
        """The texts that can be reached from the observers."""
        for thing in reach(observers, beyond=tuple(self.beyond)).values():
            if isinstance(thing, str):
                yield thing
            elif isinstance(thing, bytes | bytearray):
                yield thing.decode(errors="replace")

    def test_it_gives_observers_whose_methods_are_plain(self, tmp_path: Path) -> None:
        for observer in self.observers(tmp_path):
            for name in ("turn_started", "step_finished", "turn_finished", "turn_refused"):
                awaited = inspect.iscoroutinefunction(getattr(observer, name))
                assert not awaited, f"nobody awaits {name}: make it a plain function"

    @_EVERY_SCENE
    def test_no_turn_breaks_it(self, tmp_path: Path, scene: str) -> None:
        watch, _, _ = self.watched(tmp_path, ["answered", scene, "a tool"])
        assert not watch.raised, f"it raised {watch.raised[0]}"

    @_EVERY_SCENE
    def test_it_changes_nothing(self, tmp_path: Path, scene: str) -> None:
        alone: list[tuple[object, ...]] = []

        async def unobserved() -> None:
            async with self.project(tmp_path / "alone", [scene]) as bots:
                alone.append(await play(bots, SCENES[scene], "xyloturn-000"))

        watch, _, played = self.watched(tmp_path / "watched", [scene])
        run(unobserved())
        assert not watch.changed, f"it changed what it was told: {watch.changed[0]}"
        assert played == alone, "the turn is another one without it"

    def test_many_turns_at_once_do_not_break_it(self, tmp_path: Path) -> None:
        scenes = ["answered", "blocked", "overloaded", "silent"] * 6
        watch, held = ObserverWatch(self.observers(tmp_path)), list[str]()

        async def work() -> None:
            async with self.project(tmp_path, scenes, watch) as bots:
                turns = [
                    play(bots, SCENES[scene], f"xyloturn-{at:03}", ("acme", "globex")[at // 4 % 2])
                    for at, scene in enumerate(scenes)
                ]
                ends = [ends for *_, ends in await asyncio.gather(*turns)]
                assert ends == [SCENES[scene].ends for scene in scenes]
                held.extend(self.held(watch.observers))

        with watch.listening():
            run(work())
        assert not watch.raised, f"it raised {watch.raised[0]}"
        assert not watch.changed, f"it changed what it was told: {watch.changed[0]}"
        if not self.keeps_turns:
            self._let_go(watch, held)

    def test_turns_that_are_over_are_let_go(self, tmp_path: Path) -> None:
        if self.keeps_turns:
            pytest.skip("it keeps turns")
        watch, held, _ = self.watched(tmp_path, tuple(SCENES))
        self._let_go(watch, held)

    def _let_go(self, watch: ObserverWatch, held: Sequence[str]) -> None:
        left = [turn for turn in watch.turns if any(turn in text for text in held)]
        told = {turn: watch.turns[turn][-1] for turn in left}
        assert not left, f"it still holds turns after their last call: {told}"

    def test_what_is_said_stays_in_the_turn(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        if self.keeps_text:
            pytest.skip("it keeps text")
        watch, held, _ = self.watched(tmp_path, tuple(SCENES))
        for where, texts in (
            ("it", held),
            ("what it logs", watch.lines),
            ("what it prints", capsys.readouterr()),
            ("what it passes on", [self.passed_on()]),
        ):
            found = [text for text in texts if MARK in text]
            assert not found, f"what users, bots or tools said is in {where}: {found[0][:200]!r}"

    def test_it_closes_where_there_was_no_turn(self, tmp_path: Path) -> None:
        self.watched(tmp_path, ())

    def test_it_closes_after_turns_that_the_end_cancels(self, tmp_path: Path) -> None:
        watch = ObserverWatch(self.observers(tmp_path))

        async def work() -> None:
            async with self.project(tmp_path, ["cancelled"], watch) as bots:
                stream = bots["acme/support"].stream(MARK, options=TurnOptions(id="xyloturn-000"))
                while not isinstance(await anext(stream), ToolStarted):
                    pass
            await stream.aclose()

        with watch.listening():
            run(work())
        assert watch.turns["xyloturn-000"][-1] == "turn_finished" and not watch.open
        assert not watch.raised, f"it raised {watch.raised[0]}"

    def test_two_projects_at_once_have_observers_of_their_own(self, tmp_path: Path) -> None:
        roots = [tmp_path / "one", tmp_path / "other"]
        one, other = (ObserverWatch(self.observers(root)) for root in roots)

        async def work() -> None:
            async with (
                self.project(roots[0], ["answered"], one) as first,
                self.project(roots[1], ["answered"], other) as second,
            ):
                await asyncio.gather(*(play(bots, SCENES["answered"], "xyloturn-000") for bots in (first, second)))

        assert not {id(thing) for thing in one.observers} & {id(thing) for thing in other.observers}, (
            "two projects are given one observer: make it in the hook"
        )
        with one.listening(), other.listening():
            run(work())
        assert not one.raised, f"it raised {one.raised[0]}"
