"""A reply as calls of Slack's Web API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sartor.channels import Message
from sartor.texts import in_language
from sartor.values import Citation, JSONValue, Outcome, Reply

from sartor_plugins.slack.mrkdwn import escape, mrkdwn, split
from sartor_plugins.slack.settings import SlackSettings

__all__ = ["note", "posts", "section"]

_BLOCK = 3000
"""Characters of a block's text."""
_BLOCKS = 3
"""Blocks of text in a message. Slack takes 40,000 characters of text, but refuses blocks of about 12,000 together
(`msg_blocks_too_long`)."""
_NOTICE = 3000
"""Characters of what notifications and screen readers are given."""


def posts(message: Message, reply: Reply, settings: SlackSettings) -> list[JSONValue]:
    """The messages of a reply, the first in place of what `note` posted, if it did. None while a person is to speak."""
    if not reply.text and reply.outcome is Outcome.SILENT and not message.to.get("posted"):
        return []
    by = f"*{escape(' '.join(reply.author.split()))}:* " if reply.author else ""
    pieces = split(f"{by}{mrkdwn(reply.text)}", _BLOCK) or ["…"]
    groups = [pieces[at : at + _BLOCKS] for at in range(0, len(pieces), _BLOCKS)]
    made: list[JSONValue] = []
    for number, group in enumerate(groups):
        blocks: list[JSONValue] = [section(piece) for piece in group]
        if number + 1 == len(groups) and settings.sources and reply.citations:
            title = in_language(settings.sources_title, reply.turn.language)
            blocks.append(_sources(title, reply.citations))
        posted = message.to.get("posted") if number == 0 else None
        made.append(_call(message.to, blocks, group[0][:_NOTICE], posted if isinstance(posted, str) else ""))
    return made


def note(message: Message, text: str) -> dict[str, JSONValue]:
    """A message that says in plain text that the reply takes a while."""
    return _call(message.to, [section(escape(text))], escape(text))


def _call(
    to: Mapping[str, JSONValue], blocks: Sequence[JSONValue], notice: str, posted: str = ""
) -> dict[str, JSONValue]:
    call: dict[str, JSONValue] = {
        "channel": to["channel"],
        "text": notice,
        "blocks": list(blocks),
        "parse": "none",
    }
    if posted:
        return {**call, "ts": posted}
    if to.get("thread"):
        call["thread_ts"] = to["thread"]
    return {**call, "unfurl_links": False, "unfurl_media": False}


def section(text: str) -> dict[str, JSONValue]:
    """A block of mrkdwn, in which nothing becomes a link or a mention by itself."""
    return {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}


def _sources(title: str, citations: Sequence[Citation]) -> dict[str, JSONValue]:
    told = " · ".join(f"[{citation.number}] {_named(citation)}" for citation in citations)
    [text, *_] = split(f"{escape(title)}: {told}", _BLOCK)
    return {"type": "context", "elements": [{"type": "mrkdwn", "text": text, "verbatim": True}]}


def _named(citation: Citation) -> str:
    return escape(" ".join((citation.title or citation.source).split())[:200])
