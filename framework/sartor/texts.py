"""Texts for users, in one language or in several."""

from __future__ import annotations

__all__ = ["Text", "in_language"]

Text = str | dict[str, str]
"""A text for users: one for all languages, or one for each (``{en: …, fr: …}``)."""


def in_language(text: Text, language: str) -> str:
    """`text` in `language` (a BCP 47 tag) or the nearest that it has: the tag without its region, else the first."""
    if isinstance(text, str):
        return text
    return text.get(language) or text.get(language.partition("-")[0]) or next(iter(text.values()), "")
