"""Many continuations of one reply, computed side by side and forgotten again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sartor.errors import ModelError

from sartor_plugins.llama.engine.context import Context, Full, Part
from sartor_plugins.llama.engine.memory import Memory, Seat
from sartor_plugins.llama.engine.track import Fork

__all__ = ["compute"]

_Path = list[int]
"""The numbers of a branch's places, in their order."""


def compute(context: Context, memory: Memory, seat: Seat, fork: Fork, length: int) -> int:
    """Tell `fork` what follows each of its places behind the first `length` tokens of `seat`; how many tokens were
    computed for it.

    Raises `ModelError` where there is no room.
    """
    numbers = memory.lend(seat, fork.branches, len(fork.places))
    try:
        way = _apart if context.sizes.apart else _together
        return way(context, numbers, seat, fork, length)
    except Full:
        raise _no_room() from None
    finally:
        memory.give_back(numbers)


def _together(context: Context, numbers: Sequence[int], seat: Seat, fork: Fork, length: int) -> int:
    """A token that several branches share belongs to all their sequences, and is computed once."""
    if len(numbers) < fork.branches:
        raise _no_room()
    context.copy(seat.number, numbers, length)
    for at in range(0, len(fork.places), context.most_rows):
        places = fork.places[at : at + context.most_rows]
        parts = [
            Part(tuple(numbers[branch] for branch in place.branches), length + place.depth, [place.token])
            for place in places
        ]
        for number, rows in enumerate(context.compute(parts), at):
            fork.read(number, rows[0])
    return len(fork.places)


def _apart(context: Context, numbers: Sequence[int], seat: Seat, fork: Fork, length: int) -> int:
    """A sequence belongs to one branch, and so does each token. As many branches are computed at a time as there are
    `numbers`, all as far as the longest of them."""
    paths: list[_Path] = [[] for _ in range(fork.branches)]
    for number, place in enumerate(fork.places):
        for branch in place.branches:
            paths[branch].append(number)
    paths = sorted((path for path in paths if path), key=len)
    numbers = numbers[: len(paths)]
    if not context.copy(seat.number, numbers, length):
        raise _no_room()
    told: set[int] = set()
    computed = 0
    for at in range(0, len(paths), max(1, len(numbers))):
        wave = paths[at : at + len(numbers)]
        for start, stretch in _stretches(wave, min(context.sizes.batch, context.most_rows)):
            longest = max(map(len, stretch))
            parts, wanted = [], []
            for sequence, path in zip(numbers, stretch, strict=False):
                new = [number for number in path if number not in told]  # others have told what stands before
                told.update(new)
                wanted.append(new)
                tokens = [fork.places[number].token for number in path]
                filling = longest - len(path)
                parts.append(Part((sequence,), length + start, [*tokens, *[0] * filling], len(new), filling))
            computed += longest * len(parts)
            for new, rows in zip(wanted, context.compute(parts), strict=True):
                for number, row in zip(new, rows, strict=True):
                    fork.read(number, row)
        for sequence in numbers:
            context.trim(sequence, length)
    return computed


def _stretches(paths: Sequence[_Path], tokens: int) -> Iterator[tuple[int, list[_Path]]]:
    """All of `paths` piece by piece, each piece of at most `tokens` places, with where it starts."""
    each = max(1, tokens // len(paths))
    for start in range(0, max(map(len, paths)), each):
        yield start, [path[start : start + each] for path in paths]


def _no_room() -> ModelError:
    return ModelError(
        "the memory has no room to compare so many texts",
        remedy="Set `cells` of the model higher, or `context` where each conversation has a room of its own.",
    )
