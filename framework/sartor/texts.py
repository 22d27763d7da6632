"""Texts for users, in one language or in several."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["Phrases", "Text", "in_language", "nearest", "phrases_in"]

Text = str | dict[str, str]
"""A text for users: one for all languages, or one for each (``{en: …, fr: …}``)."""


Phrases = list[str] | dict[str, list[str]]
"""What users say: for all languages, or by language."""


def in_language(text: Text, language: str) -> str:
    """`text` in `language` (a BCP 47 tag) or the nearest that it has: the tag without its region, else the first."""
    if isinstance(text, str):
        return text
    return text.get(language) or text.get(language.partition("-")[0]) or next(iter(text.values()), "")


def phrases_in(phrases: Phrases, language: str = "") -> list[str]:
    """What users say in `language` (a BCP 47 tag), or in all."""
    if isinstance(phrases, list):
        return phrases
    told = {language: phrases.get(language.partition("-")[0], [])} if language else phrases
    return [phrase for of_language in told.values() for phrase in of_language]


def nearest(wanted: Sequence[str], known: Sequence[str]) -> str:
    """Of the languages `known` (at least one), the first that fits one of `wanted`, else the first of all.

    A tag fits another in any case of letters, and with another region or none: ``fr-CA`` fits ``fr``.
    """
    for tag in wanted:
        for same in (str.lower, lambda one: one.lower().partition("-")[0]):
            if fitting := [one for one in known if same(one) == same(tag)]:
                return fitting[0]
    return known[0]
