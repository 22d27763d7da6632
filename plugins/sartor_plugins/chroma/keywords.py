"""Keyword search over one bot's chunks: BM25 by SQLite's FTS5, in a file of its own."""

from __future__ import annotations

import math
import re
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sartor.values import Chunk

__all__ = ["Keywords"]

_WORD = re.compile(r"[^\W_]+")
_MOST_TELLING = 60
"""Words of a question that are looked for in a chunk to see what it covers: those that the fewest chunks have."""

_ENOUGH = 6
"""How many words that no chunk has weigh as much as a whole question, however long."""

_LONGEST_QUERY = 400
"""Words of a question that are looked at."""

_LISTED = 200
"""Chunks up to which it is remembered which ones have a word, and not only how many."""

_REMEMBERED = 50_000
"""Words, chunks that have them and ids of chunks, together, that are remembered of one bot: 4 to 8 MB."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS chunk (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, audience TEXT NOT NULL);
CREATE VIRTUAL TABLE IF NOT EXISTS word USING fts5(title, text, tokenize='{tokenizer}');
"""

_SEARCH = """
SELECT chunk.id, -bm25(word, 1.0, 1.0) AS score
FROM word JOIN chunk ON chunk.number = word.rowid
WHERE word MATCH ? AND chunk.audience IN ('', ?) ORDER BY score DESC LIMIT ?
"""

_HAVING = """
SELECT chunk.id, chunk.audience, -bm25(word, 1.0, 1.0)
FROM word JOIN chunk ON chunk.number = word.rowid WHERE word MATCH ? LIMIT ?
"""

_COUNT = "SELECT count(*) FROM word WHERE word MATCH ?"


@dataclass(frozen=True, slots=True)
class _Word:
    """What is remembered of a word."""

    count: int
    """How many chunks have it."""
    scores: Mapping[str, float] | None
    """Which ones, and their BM25 for this word alone: that of a question is the sum over its words. None where they are
    many."""


class Keywords:
    """The keyword file of one bot. Blocks; used by one thread at a time.

    What was looked up of a word is remembered until the file is changed: one question asks for it several times,
    and the next turn of the conversation again.
    """

    def __init__(self, path: Path, language: str) -> None:
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        stem = "porter " if language.split("-", maxsplit=1)[0].lower() == "en" else ""
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute("PRAGMA secure_delete = ON")
        self._schema = _SCHEMA.format(tokenizer=f"{stem}unicode61 remove_diacritics 2")
        self._db.executescript(self._schema)
        self._removed = False
        self._state = (-1, -1)
        self._words: dict[str, _Word] = {}
        self._numbers: dict[str, int] = {}
        self._audience_of: dict[str, str] = {}
        self._total = 0
        self._audiences = False
        self._remembered = 0

    def add(self, chunks: Sequence[Chunk]) -> None:
        """Add or replace chunks, all or none."""
        with closing(self._db.cursor()) as cursor:
            cursor.execute("BEGIN IMMEDIATE")
            try:
                self._remove(cursor, [chunk.id for chunk in chunks])
                for chunk in chunks:
                    cursor.execute("INSERT INTO chunk (id, audience) VALUES (?, ?)", (chunk.id, chunk.audience))
                    cursor.execute(
                        "INSERT INTO word (rowid, title, text) VALUES (?, ?, ?)",
                        (cursor.lastrowid, chunk.title, chunk.text),
                    )
            except BaseException:
                cursor.execute("ROLLBACK")
                raise
            cursor.execute("COMMIT")

    def remove(self, ids: Sequence[str]) -> None:
        """Remove chunks; unknown ids are no error."""
        with closing(self._db.cursor()) as cursor:
            cursor.execute("BEGIN IMMEDIATE")
            try:
                self._remove(cursor, ids)
            except BaseException:
                cursor.execute("ROLLBACK")
                raise
            cursor.execute("COMMIT")

    def ids(self) -> frozenset[str]:
        return frozenset(row[0] for row in self._db.execute("SELECT id FROM chunk"))

    def has_audiences(self) -> bool:
        """Whether some chunk is not for everybody."""
        self._look_again()
        return self._audiences

    def tidy(self) -> None:
        """Take the words of removed chunks out of the file as well, which SQLite does not do at once."""
        if self._removed:
            self._db.execute("INSERT INTO word (word) VALUES ('optimize')")
            self._removed = False

    def clear(self) -> None:
        """Forget everything, also on the disk."""
        self._forget()
        self._db.executescript("DROP TABLE word; DROP TABLE chunk;")
        self._db.executescript(self._schema)
        self._db.execute("VACUUM")
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def search(self, query: str, limit: int, audience: str) -> dict[str, float]:
        """BM25 of the `limit` best chunks for any word of `query`, among those for everybody and for `audience`.

        Greater than 0, higher is better, without upper bound.
        """
        words = self._asked(query)
        known = [word for word, told in words.items() if told.count]
        # BM25 gives nothing for what more than half of the chunks have, and reading it takes most of the time.
        rare = [word for word in known if words[word].count <= self._total / 2] or known
        if not rare:
            return {}
        listed = [scores for word in rare if (scores := words[word].scores) is not None]
        if len(listed) == len(rare):
            return self._sum(listed, limit, audience)
        rows = self._db.execute(_SEARCH, (" OR ".join(map(_quoted, rare)), audience, limit))
        return {id_: score for id_, score in rows if score > 0}

    def _sum(self, listed: Sequence[Mapping[str, float]], limit: int, audience: str) -> dict[str, float]:
        """What `_SEARCH` would give, from what is remembered of the words."""
        total: dict[str, float] = {}
        for scores in listed:
            for id_, score in scores.items():
                total[id_] = total.get(id_, 0.0) + score
        seen = [one for one in total.items() if one[1] > 0 and self._audience_of[one[0]] in ("", audience)]
        return dict(sorted(seen, key=lambda one: -one[1])[:limit])

    def coverage(self, query: str, ids: Sequence[str]) -> dict[str, float]:
        """For each chunk, which part of the question's information its words hold, 0 to 1.

        A word counts by its rarity in the bot's chunks, most if none of them has it. Unlike BM25 this means the
        same in collections of every size. Of a long question, six such words are enough.
        """
        words, total = self._asked(query), self._total
        weights = {word: math.log(1 + (total - told.count + 0.5) / (told.count + 0.5)) for word, told in words.items()}
        information = min(sum(weights.values()), _ENOUGH * math.log(2 * total + 2))
        telling = sorted((word for word in weights if words[word].count), key=lambda word: -weights[word])
        held = dict.fromkeys(ids, 0.0)
        if not held or not information:
            return held
        for word in telling[:_MOST_TELLING]:
            for id_ in self._among(held, word, words[word]):
                held[id_] += weights[word]
        return {id_: min(1.0, weight / information) for id_, weight in held.items()}

    def close(self) -> None:
        self._db.close()

    def _asked(self, query: str) -> dict[str, _Word]:
        """What is known of each word of `query`; `_total` is up to date from then on."""
        self._look_again()
        words = dict.fromkeys(_WORD.findall(query.casefold())[:_LONGEST_QUERY])
        return {word: self._words.get(word) or self._look_up(word) for word in words}

    def _look_again(self) -> None:
        """Forget what was remembered if the file has changed since, or if it is too much."""
        # Both: the first tells of changes by this connection, the second by others.
        state = (self._db.total_changes, self._db.execute("PRAGMA data_version").fetchone()[0])
        if state != self._state or self._remembered > _REMEMBERED:
            self._forget()
            self._state = state
            self._total = self._db.execute("SELECT count(*) FROM chunk").fetchone()[0]
            others = self._db.execute("SELECT 1 FROM chunk WHERE audience <> '' LIMIT 1").fetchone()
            self._audiences = others is not None

    def _look_up(self, word: str) -> _Word:
        rows = self._db.execute(_HAVING, (_quoted(word), _LISTED + 1)).fetchall()
        if len(rows) <= _LISTED:
            self._audience_of.update((id_, audience) for id_, audience, _ in rows)
            told = _Word(len(rows), {id_: score for id_, _, score in rows})
        else:
            told = _Word(self._db.execute(_COUNT, (_quoted(word),)).fetchone()[0], None)
        self._words[word] = told
        self._remembered += 1 + len(told.scores or ())
        return told

    def _numbered(self, ids: Collection[str]) -> dict[int, str]:
        """Those of the chunks `ids` that there are, by number."""
        unknown = [id_ for id_ in ids if id_ not in self._numbers]
        if unknown:
            marks = ",".join("?" * len(unknown))
            self._numbers.update(self._db.execute(f"SELECT id, number FROM chunk WHERE id IN ({marks})", unknown))
            self._remembered += len(unknown)
        return {self._numbers[id_]: id_ for id_ in ids if id_ in self._numbers}

    def _among(self, ids: Collection[str], word: str, told: _Word) -> Iterable[str]:
        """Those of the chunks `ids` that have `word`."""
        if told.scores is not None:
            return told.scores.keys() & ids
        numbers = self._numbered(ids)
        within = f"SELECT rowid FROM word WHERE word MATCH ? AND rowid IN ({','.join('?' * len(numbers))})"
        return (numbers[row[0]] for row in self._db.execute(within, (_quoted(word), *numbers)))

    def _forget(self) -> None:
        self._state, self._remembered = (-1, -1), 0
        self._words, self._numbers, self._audience_of = {}, {}, {}

    def _remove(self, cursor: sqlite3.Cursor, ids: Sequence[str]) -> None:
        for id_ in ids:
            row = cursor.execute("SELECT number FROM chunk WHERE id = ?", (id_,)).fetchone()
            if row is not None:
                cursor.execute("DELETE FROM word WHERE rowid = ?", row)
                cursor.execute("DELETE FROM chunk WHERE number = ?", row)
                self._removed = True


def _quoted(word: str) -> str:
    """A word as FTS5 is to take it: never as an operator."""
    return f'"{word}"'
