"""Keyword search over one bot's chunks: BM25 by SQLite's FTS5, in a file of its own."""

from __future__ import annotations

import math
import re
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from sartor.values import Chunk

__all__ = ["Found", "Keywords"]

_WORD = re.compile(r"[^\W_]+")
_MOST_WORDS = 200
"""Words of a question that are searched for: those that the fewest chunks have."""

_ENOUGH = 6
"""How many words that no chunk has weigh as much as a whole question, however long."""

_LONGEST_QUERY = 400
"""Words of a question that are looked at."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS chunk (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, audience TEXT NOT NULL);
CREATE VIRTUAL TABLE IF NOT EXISTS word USING fts5(title, text, tokenize='{tokenizer}');
"""

_SEARCH = """
SELECT chunk.number, chunk.id, -bm25(word, 1.0, 1.0) AS score
FROM word JOIN chunk ON chunk.number = word.rowid
WHERE word MATCH ? AND chunk.audience IN ('', ?) ORDER BY score DESC LIMIT ?
"""


@dataclass(frozen=True, slots=True)
class Found:
    """What a keyword search found, by chunk id."""

    scores: Mapping[str, float] = field(default_factory=dict)
    """BM25, greater than 0, higher is better, without upper bound."""
    coverage: Mapping[str, float] = field(default_factory=dict)
    """Which part of the question's information the chunk's words hold, 0 to 1: each word counts by its rarity
    in the bot's chunks, and a word that none of them has counts most. Unlike BM25 it means the same in
    collections of every size."""


class Keywords:
    """The keyword file of one bot. Blocks; used by one thread at a time."""

    def __init__(self, path: Path, language: str) -> None:
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        stem = "porter " if language.split("-", maxsplit=1)[0].lower() == "en" else ""
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute("PRAGMA secure_delete = ON")
        self._schema = _SCHEMA.format(tokenizer=f"{stem}unicode61 remove_diacritics 2")
        self._db.executescript(self._schema)
        self._removed = False

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
        return self._db.execute("SELECT 1 FROM chunk WHERE audience <> '' LIMIT 1").fetchone() is not None

    def tidy(self) -> None:
        """Take the words of removed chunks out of the file as well, which SQLite does not do at once."""
        if self._removed:
            self._db.execute("INSERT INTO word (word) VALUES ('optimize')")
            self._removed = False

    def clear(self) -> None:
        """Forget everything, also on the disk."""
        self._db.executescript("DROP TABLE word; DROP TABLE chunk;")
        self._db.executescript(self._schema)
        self._db.execute("VACUUM")
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def search(self, query: str, limit: int, audience: str) -> Found:
        """The `limit` best chunks for any word of `query`, among those for everybody and for `audience`."""
        total = self._db.execute("SELECT count(*) FROM chunk").fetchone()[0]
        counts = self._counts(query)
        known = sorted((word for word, count in counts.items() if count), key=lambda word: counts[word])[:_MOST_WORDS]
        if not known:
            return Found()
        rows = self._db.execute(_SEARCH, (" OR ".join(map(_quoted, known)), audience, limit)).fetchall()
        weights = {word: math.log(1 + (total - count + 0.5) / (count + 0.5)) for word, count in counts.items()}
        # What no chunk has tells most. Of a long question, a few such words are enough to cover.
        information = min(sum(weights.values()), _ENOUGH * math.log(2 * total + 2))
        held = dict.fromkeys((row[0] for row in rows), 0.0)
        within = f"SELECT rowid FROM word WHERE word MATCH ? AND rowid IN ({','.join(map(str, held))})"
        for word in known:
            for (number,) in self._db.execute(within, (_quoted(word),)):
                held[number] += weights[word]
        return Found(
            {id_: score for _, id_, score in rows},
            {id_: min(1.0, held[number] / information) for number, id_, _ in rows},
        )

    def close(self) -> None:
        self._db.close()

    def _counts(self, query: str) -> dict[str, int]:
        """For each word of `query`, how many chunks have it."""
        words = dict.fromkeys(_WORD.findall(query.casefold())[:_LONGEST_QUERY])
        count = "SELECT count(*) FROM word WHERE word MATCH ?"
        return {word: self._db.execute(count, (_quoted(word),)).fetchone()[0] for word in words}

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
