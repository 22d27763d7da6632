"""What files look like from outside, to tell cheaply whether any of them has changed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

__all__ = ["SETTLE_SECONDS", "SOURCES", "Stamps", "changed", "settled", "stamps"]

Stamps = Mapping[Path, tuple[int, int, int] | None]
"""For each file its time of change, size and number; None where there is none."""

SOURCES = frozenset({".csv", ".json", ".md", ".py", ".sql", ".toml", ".txt", ".yaml", ".yml"})
"""How the names of files end that people write to make a bot."""

SETTLE_SECONDS = 0.02
"""A change counts when it looks the same after this time: an editor may be in the middle of writing it."""
_LOOKS = 50
_PASSING = {"__pycache__", "node_modules"}


def stamps(
    places: Iterable[Path], *, suffixes: frozenset[str] | None = None, without: frozenset[str] = frozenset()
) -> Stamps:
    """The stamps of `places`: files, and all files in and below folders but for hidden ones.

    Of folders, only files whose names end with one of `suffixes` count, where they are given; folders right below
    them that are called as in `without` are passed over.
    """
    found: dict[Path, tuple[int, int, int] | None] = {}
    for place in places:
        if place.is_dir():
            found.update((file, _stamp(file)) for file in _walk(place, suffixes, without))
        else:
            found[place] = _stamp(place)
    return found


def changed(before: Stamps, now: Stamps) -> list[Path]:
    """The files that came, went or were changed, sorted."""
    return sorted(file for file in {*before, *now} if before.get(file) != now.get(file))


def settled(look: Callable[[], Stamps], now: Stamps) -> Stamps:
    """What `look` gives when two looks, a moment apart, give the same. Blocks for that moment."""
    for _ in range(_LOOKS):
        time.sleep(SETTLE_SECONDS)
        before, now = now, look()
        if before == now:
            break
    return now


def _walk(folder: Path, suffixes: frozenset[str] | None, without: frozenset[str]) -> Iterator[Path]:
    for directory, folders, files in os.walk(folder):
        top = Path(directory) == folder
        folders[:] = [
            name for name in folders if name[0] != "." and name not in _PASSING and not (top and name in without)
        ]
        for name in files:
            if name[0] not in ".~" and (suffixes is None or os.path.splitext(name)[1].lower() in suffixes):
                yield Path(directory, name)


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        told = file.stat()
    except OSError:
        return None
    return told.st_mtime_ns, told.st_size, told.st_ino
