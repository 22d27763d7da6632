"""The memory of the context as a house with rooms: who moves in where, what is kept, and what has to leave."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence, Set
from dataclasses import dataclass

from sartor_plugins.llama.engine.attic import Attic, Stored
from sartor_plugins.llama.engine.commons import Commons
from sartor_plugins.llama.engine.context import Context
from sartor_plugins.llama.engine.prefixes import STUB, Kept, Prefixes, Scope

__all__ = ["SPARE", "Memory", "Seat"]

_WORTH_IT = 32
"""Tokens below which nothing is copied back from the attic, or waited for. With rooms, a neighbour could be noticed by
what is missing: all is copied that a reply could have gone on from."""
_STAYS = 2.0
"""Seconds for which what a reply leaves stays in the memory itself: the next step of the same turn follows at once."""
_YOUNG = 4096
"""Tokens that may stay for so long; where there are more, the oldest go after `_HURRIED` seconds."""
_HURRIED = 0.5
_WORTH_COPYING = 16
"""Tokens below which a conversation with a room of its own begins anew: a copy costs about as much as four of them."""
SPARE = 4
"""Rooms that only forks use, where each sequence has a room of its own: they lie side by side, and nobody leaves."""
_FREE = 2
"""Rooms that are kept free for newcomers, where what lies in them can be copied to the attic,"""
_COMMON = 8
"""What part of the attic's size what is public may have, beside it."""
_PAUSE = 0.02
"""so many seconds after a reply has ended, or one was cleared."""
_BUSY = 1.0
"""Seconds after which the disk is asked once more, where it had too much to write."""
_NEAR = 4
"""Rooms from the replies that run within which a sequence is well placed: see `Context`."""


@dataclass(slots=True, eq=False)
class Seat:
    """A sequence of the memory, taken by a reply."""

    number: int
    scope: Scope
    prompt: Sequence[int]
    reserved: int
    """Tokens beside the prompt's that the reply may need."""
    cached: int
    """Tokens of the prompt that need not be computed."""
    computed: int
    """Tokens that lie in the memory by now."""
    unstored: int = 0
    """Tokens at the start of the prompt that are the same for every tenant and not yet stored for all."""


@dataclass(frozen=True, slots=True)
class _Found:
    """Something stored that a prompt begins with."""

    stored: Stored
    length: int
    """Tokens that are the same."""
    place: Attic


class Memory:
    """Sequences, tokens and what is kept of finished replies. To be used by the engine's thread only."""

    def __init__(self, context: Context, attic: Attic, *, keeps: bool, idle: int, whole: bool = False) -> None:
        """`keeps`: whether anything of finished replies is kept; recurrent models cannot. `whole`: whether only all of
        a sequence can be copied back, and no beginning of it: see `Weights.window`.

        `idle`: tokens of finished replies that stay in the memory itself; more goes to the attic soon. On a CPU each
        token of a batch looks at every cell up to the last used one, so that 16,000 idle cells halve the speed. Where
        each sequence has a room of its own, it does not, and all stay until their room is wanted.
        """
        self._idle = idle
        self.untidy_at = math.inf
        """When (`time.monotonic`) something is to be moved to the attic."""
        self._context = context
        self._attic = attic
        self._commons = Commons(context, attic.limit // _COMMON if keeps and not whole else 0)
        self._keeps = keeps
        self._whole = whole
        self._rooms = context.sizes.apart
        self._worth_it = 1 if self._rooms else _WORTH_IT
        self._numbers = range(context.sizes.sequences - (SPARE if self._rooms else 0))
        self._prefixes = self._nothing()
        self._seats: dict[int, Seat] = {}
        self._lent: set[int] = set()
        self._tidy_at = 0.0

    @property
    def cells(self) -> int:
        """Tokens in use or reserved."""
        if self._rooms:
            return self._prefixes.taken * self._context.sizes.room
        return self._prefixes.taken + sum(seat.reserved for seat in self._seats.values())

    def take(
        self,
        scope: Scope,
        prompt: Sequence[int],
        reserved: int,
        branches: int = 0,
        public: int = 0,
        *,
        patient: bool = False,
    ) -> Seat | None:
        """A seat for a reply, with all of its prompt that lies in the memory or the attic; None where it has to wait.
        `reserved`: tokens that follow, beside those of the `branches` of a fork; `public`: those at the start that are
        the same for every tenant.

        It waits for room, or for another reply of the same scope that is just computing the same beginning; a `patient`
        one also for the disk, so that the replies that run need not.
        """
        useful = prompt[:-1]  # the last token is computed in any case, for its logits
        source, length = self._source(scope, useful)
        if source is None:
            return None
        public = min(public, len(useful)) if self._commons.wants(public) else 0
        found = self._stored(scope, useful, public)
        if found is not None and found.length < length + self._worth_it:
            found = None
        if self._rooms and max(length, found.length if found else 0) < _WORTH_COPYING:
            source, length, found = -1, 0, None
        if found is not None:  # what leaves for it goes to the attic, where it shall not be given up for that
            found.place.touch(found.stored)
            if patient and not found.place.fetch(found.stored):
                return None
        if self._rooms:
            need = len(prompt) + reserved
            goes_on = found is None and self._goes_on(source, length)
            number = self._room(scope.tenant, need, keep=source, best=source if goes_on else -1)
        else:
            need = len(prompt) - self._prefixes.shared(scope, prompt) + reserved + branches
            if found is not None:
                need = max(need, len(found.stored.tokens))
            number = self._number(keep=source)
            if number is not None and not self._make_room(scope.tenant, need, keep=source):
                return None
        if number is None:
            return None
        length = self._bring(number, source, length, found)
        self._prefixes.hold(number, scope, prompt, running=True)
        for other in self._prefixes.covered(number):  # the turn before of the same conversation
            self._forget(other)
        unstored = public if public and self._commons.get(useful[:public]) is None else 0
        seat = self._seats[number] = Seat(number, scope, prompt, reserved, length, length, unstored)
        return seat

    def computed(self, seat: Seat, tokens: int) -> None:
        """By now, `tokens` of `seat` lie in the memory. What is public of them is stored for all."""
        seat.computed = tokens
        if not seat.unstored or tokens < seat.unstored:
            return
        public, seat.unstored = list(seat.prompt[: seat.unstored]), 0
        spare = self._numbers.stop if self._rooms else self._free()
        if spare is not None and self._commons.get(public) is None:
            self._commons.put(seat.number, public, spare)

    def _stored(self, scope: Scope, useful: Sequence[int], public: int) -> _Found | None:
        """What is stored of the beginning of `useful`, of `scope` or for all."""
        found: _Found | None = None
        stored, length = self._attic.best(scope, useful) if scope.alone is None else (None, 0)
        if stored is not None and not (self._whole and length < len(stored.tokens)):
            found = _Found(stored, length, self._attic)
        common = self._commons.get(useful[:public]) if public else None
        if common is not None and (found is None or public > found.length):
            found = _Found(common, public, self._commons.attic)
        return found

    def _bring(self, number: int, source: int, length: int, found: _Found | None) -> int:
        """Let sequence `number` begin with what was `found`, or `length` tokens of `source`; how many it has."""
        if found is not None:
            if (data := found.place.take(found.stored)) is None:
                return self._bring(number, source, length, None)
            if number == source:
                self._context.drop(number)
                length = 0
            if not self._context.load(number, data):
                return self._bring(number, source, length, None)
            self._context.trim(number, found.length)
            if self._rooms and found.place is self._attic and len(found.stored.tokens) - found.length < STUB:
                self._attic.remove(found.stored)
            return found.length
        if number == source:
            self._context.trim(number, length)
        elif length:
            self._prefixes.touch(source)
            copied = self._context.copy(source, [number], length)
            if copied and self._rooms and self._goes_on(source, length):
                self._forget(source)
            return length if copied else 0
        return length

    def leave(self, seat: Seat, tokens: Sequence[int]) -> None:
        """The reply is over; `tokens` lie in the memory behind it."""
        del self._seats[seat.number]
        if not (tokens and self._keeps and seat.scope.alone is None):
            self._forget(seat.number)
            return
        self._prefixes.hold(seat.number, seat.scope, list(tokens), running=False)
        for other in self._prefixes.covered(seat.number):
            self._forget(other)
        self._tidy_at = time.monotonic() + _PAUSE
        self.tidy()

    def tidy(self) -> None:
        """Move to the attic what is too much and has not been of use for a while."""
        self.untidy_at = math.inf
        if self._rooms:
            self._keep_rooms_free()
            return
        while self._attic.limit and (idle := self._prefixes.idle) > self._idle:
            kept = self._prefixes.oldest()
            if kept is None:
                return
            leaves = kept.since + (_STAYS if idle <= self._idle + _YOUNG else _HURRIED)
            if time.monotonic() < leaves:
                self.untidy_at = leaves
                return
            self._evict(kept)

    def rest(self) -> None:
        """Nobody waits for a seat."""
        self._attic.rest()

    def lend(self, seat: Seat, count: int, tokens: int) -> list[int]:
        """`count` empty sequences for a fork that computes `tokens`; fewer, even none, where room is short."""
        if self._rooms:
            return [*range(self._numbers.stop, self._context.sizes.sequences)][:count]
        if not self._make_room(seat.scope.tenant, tokens, keep=seat.number):
            return []
        numbers: list[int] = []
        while len(numbers) < count and (number := self._number(keep=seat.number)) is not None:
            numbers.append(number)
            self._lent.add(number)
        return numbers

    def give_back(self, numbers: Sequence[int]) -> None:
        """A fork is over."""
        for number in numbers:
            self._context.drop(number)
            self._lent.discard(number)

    def spare(self, tenant: str) -> bool:
        """Give up one kept sequence, where the library found no room against expectation; false: there is none."""
        kept = self._prefixes.victim(tenant, self._context.sizes.cells)
        if kept is not None:
            self._evict(kept)
        return kept is not None

    def forget(self, tenant: str) -> None:
        """Give up everything that is kept of `tenant`; replies that run go on, and leave nothing."""
        self._attic.forget(tenant)
        for kept in self._prefixes.of(tenant):
            if kept.number in self._seats:
                seat = self._seats[kept.number]
                seat.scope = Scope(tenant, seat.scope.adapter, alone=seat)
                self._prefixes.hold(kept.number, seat.scope, seat.prompt, running=True)
            else:
                self._forget(kept.number)

    def clear(self) -> None:
        """Everything is lost, after a failure of the library."""
        self._context.clear()
        self.untidy_at = math.inf
        self._prefixes = self._nothing()
        self._seats.clear()
        self._lent.clear()

    def close(self) -> None:
        """Leave nothing behind. It is of no use afterwards."""
        self._attic.close()

    def _nothing(self) -> Prefixes:
        return Prefixes(len(self._numbers) if self._rooms else self._context.sizes.cells, rooms=self._rooms)

    def _source(self, scope: Scope, prompt: Sequence[int]) -> tuple[int | None, int]:
        """The sequence that has most of `prompt` computed, and how much (−1 and 0 where there is none); None where
        one that runs will soon have more."""
        best, length, soon = -1, 0, 0
        if self._keeps:
            for number, same in self._prefixes.longest(scope, prompt):
                seat = self._seats.get(number)
                ready = same if seat is None else min(same, seat.computed)
                soon = max(soon, same)
                if ready > length:
                    best, length = number, ready
        return (None, 0) if soon >= length + _WORTH_IT else (best, length)

    def _goes_on(self, source: int, length: int) -> bool:
        """Whether sequence `source` is over, and little follows in it behind `length` tokens: what goes on from there
        takes its place, wherever it lies, so that no neighbour can change what is kept."""
        over = source in self._prefixes and source not in self._seats
        return over and len(self._prefixes.kept(source).tokens) - length < STUB

    def _keep_rooms_free(self) -> None:
        """Clear a room if there are few, once nobody has come for a moment: a newcomer would have to wait for it."""
        free = len(self._numbers) - len(self._prefixes)
        kept = self._prefixes.oldest_of({*self._numbers}) if free < _FREE else None
        if kept is None:
            return
        if not self._attic_takes(kept):
            if self._attic.busy:
                self.untidy_at = time.monotonic() + _BUSY
            return
        if self._tidy_at > time.monotonic():
            self.untidy_at = self._tidy_at
            return
        self._evict(kept)
        if free + 1 < _FREE:
            self.untidy_at = self._tidy_at = time.monotonic() + _PAUSE

    def _room(self, tenant: str, need: int, keep: int, best: int) -> int | None:
        """A room for `need` tokens, near to the replies that run if possible: `best`, if it is, a free one, or one that
        is given up; not that of `keep`."""
        if need > self._context.sizes.room:
            return None
        if best >= 0 and self._distance(best) <= _NEAR:
            return best
        distances: dict[int, set[int]] = {}
        for number in self._numbers:
            if number not in self._seats:
                distances.setdefault(self._distance(number), set()).add(number)
        for distance in sorted(distances):
            if free := [number for number in distances[distance] if number not in self._prefixes]:
                return min(free)
            if distance <= _NEAR and (kept := self._movable(tenant, distances[distance] - {keep})):
                self._evict(kept)
                return kept.number
        return self._last_room(tenant, keep)

    def _last_room(self, tenant: str, keep: int) -> int | None:
        """The room that is given up for `tenant`, wherever it lies; that of `keep` where there is no other."""
        if (kept := self._prefixes.victim(tenant, 1, keep=keep)) is not None:
            self._evict(kept)
            return kept.number
        if keep in self._prefixes and keep not in self._seats:
            self._save(self._prefixes.kept(keep))
            return keep
        return None

    def _movable(self, tenant: str, numbers: Set[int]) -> Kept | None:
        """Of the rooms `numbers`, the one to be cleared for `tenant`, though there may be others further away: any that
        is over where the attic has room for it, so that nothing is lost."""
        kept = self._prefixes.oldest_of(numbers)
        return kept if kept is None or self._attic_takes(kept) else self._prefixes.victim(tenant, 1, among=numbers)

    def _attic_takes(self, kept: Kept) -> bool:
        """Whether the attic has room for `kept` beside all that lies there."""
        return self._attic.takes(kept.scope, kept.tokens, self._context.size_of(kept.number))

    def _distance(self, number: int) -> int:
        """How far room `number` is from those of the replies that run; 0 between them."""
        return max(min(self._seats) - number, number - max(self._seats), 0) if self._seats else 0

    def _number(self, keep: int) -> int | None:
        """A free sequence, given up by another if need be."""
        if (free := self._free()) is not None:
            return free
        kept = self._prefixes.crowded(keep=keep)
        if kept is None:
            return None
        self._evict(kept)
        return kept.number

    def _free(self) -> int | None:
        taken = (self._seats, self._lent, self._prefixes)
        return next((number for number in self._numbers if not any(number in one for one in taken)), None)

    def _make_room(self, tenant: str, need: int, keep: int) -> bool:
        while self.cells + need > self._context.sizes.cells:
            kept = self._prefixes.victim(tenant, need, keep=keep)
            if kept is None:
                return False
            self._evict(kept)
        return True

    def _evict(self, kept: Kept) -> None:
        self._save(kept)
        self._forget(kept.number)

    def _save(self, kept: Kept) -> None:
        least = _WORTH_COPYING if self._rooms else _WORTH_IT
        if self._attic.limit and len(kept.tokens) >= least and self._has_its_own(kept):
            stored, same = self._attic.best(kept.scope, kept.tokens)
            if stored is not None and same > len(kept.tokens) - self._worth_it:
                self._attic.touch(stored)  # nearly all of it is there already
            elif (data := self._context.save(kept.number)) is not None:
                self._attic.put(Stored(kept.scope, kept.tokens, data))

    def _has_its_own(self, kept: Kept) -> bool:
        """Whether more than a little end of `kept` would be lost with it: such ends leave holes in a memory that all
        share."""
        own = self._prefixes.own(kept)
        return own >= (1 if self._rooms else STUB) or own == len(kept.tokens)

    def _forget(self, number: int) -> None:
        self._context.drop(number)
        self._prefixes.drop(number)
