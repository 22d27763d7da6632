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

_LONGEST_QUERY = 400
"""Words of a question that are looked at."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS chunk (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, audience TEXT NOT NULL);
CREATE VIRTUAL TABLE IF NOT EXISTS word USING fts5(title, text, tokenize='{tokenizer}');
CREATE VIRTUAL TABLE IF NOT EXISTS vocabulary USING fts5vocab(word, row);
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
    in the bot's chunks, and a word that none of them has counts most."""


class Keywords:
    """The keyword file of one bot. Blocks; used by one thread at a time."""

    def __init__(self, path: Path, language: str) -> None:
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        stem = "porter " if language.split("-", maxsplit=1)[0].lower() == "en" else ""
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute("PRAGMA secure_delete = ON")
        self._db.executescript(_SCHEMA.format(tokenizer=f"{stem}unicode61 remove_diacritics 2"))

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

    def clear(self) -> None:
        """Forget everything, also on the disk."""
        self._db.execute("DELETE FROM word")
        self._db.execute("DELETE FROM chunk")
        self._db.execute("VACUUM")

    def search(self, query: str, limit: int, audience: str) -> Found:
        """The `limit` best chunks for any word of `query`, among those for everybody and for `audience`."""
        weights = self._weights(query)
        known = [word for word, (count, _) in weights.items() if count]
        known = sorted(known, key=lambda word: weights[word][0])[:_MOST_WORDS]
        if not known:
            return Found()
        match = " OR ".join(f'"{word}"' for word in known)
        rows = self._db.execute(_SEARCH, (match, audience, limit)).fetchall()
        held = dict.fromkeys((row[0] for row in rows), 0.0)
        marks = ",".join(map(str, held))
        for word in known:
            within = f"SELECT rowid FROM word WHERE word MATCH ? AND rowid IN ({marks})"
            for (number,) in self._db.execute(within, (f'"{word}"',)):
                held[number] += weights[word][1]
        information = sum(weight for _, weight in weights.values())
        coverage = {id_: min(1.0, held[number] / information) for number, id_, _ in rows}
        return Found({id_: score for _, id_, score in rows}, coverage)

    def close(self) -> None:
        self._db.close()

    def _weights(self, query: str) -> dict[str, tuple[int, float]]:
        """For each word of `query`, how many chunks have it, and how much it tells: the rarer, the more."""
        total = self._db.execute("SELECT count(*) FROM chunk").fetchone()[0]
        weights = {}
        for word in list(dict.fromkeys(_WORD.findall(query.casefold())))[:_LONGEST_QUERY]:
            (count,) = self._db.execute("SELECT count(*) FROM word WHERE word MATCH ?", (f'"{word}"',)).fetchone()
            weights[word] = (count, math.log(1 + (total - count + 0.5) / (count + 0.5)))
        return weights

    @staticmethod
    def _remove(cursor: sqlite3.Cursor, ids: Sequence[str]) -> None:
        for id_ in ids:
            row = cursor.execute("SELECT number FROM chunk WHERE id = ?", (id_,)).fetchone()
            if row is not None:
                cursor.execute("DELETE FROM word WHERE rowid = ?", row)
                cursor.execute("DELETE FROM chunk WHERE number = ?", row)
