"""Slack's events as messages to the bot."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from sartor.channels import Message
from sartor.values import JSONValue

__all__ = ["address_of", "is_spoken", "message_of", "own_of", "plain", "text_of"]

_SPOKEN = ("", "file_share", "thread_broadcast")
"""Subtypes of messages that a person wrote; all others tell of edits, joins, topics, bots."""
_ID = re.compile(r"[A-Z0-9]{2,30}")
_TS = re.compile(r"\d{1,16}\.\d{1,9}")
_MARK = re.compile(r"<([^<>]*)>")
_ENTITIES = {"&lt;": "<", "&gt;": ">", "&amp;": "&"}


def message_of(
    payload: Mapping[str, JSONValue], bot: str, respond_to: Collection[str], teams: Collection[str]
) -> Message | None:
    """The message in an event, if a person wrote it to `bot`, in a place where the bot answers, and in a team of
    `teams`, if there are any."""
    event = payload.get("event")
    if not isinstance(event, dict) or not is_spoken(event) or text_of(event, "user") in own_of(payload):
        return None
    team, installed = _team(payload, event), text_of(payload, "team_id")
    user, channel, ts = text_of(event, "user"), text_of(event, "channel"), text_of(event, "ts")
    thread = text_of(event, "thread_ts")
    fit = all(map(_ID.fullmatch, (team, user, channel))) and _TS.fullmatch(ts) and (not thread or _TS.fullmatch(thread))
    if not fit or (teams and not {team, installed} <= set(teams)):
        return None
    kind = _kind(payload, event)
    text = plain(text_of(event, "text"), own_of(payload))
    if kind not in respond_to or not text:
        return None
    direct = kind == "direct-messages"
    place = f"{channel}:{thread or ts}" if thread or not direct else channel
    return Message(
        text=text,
        user=f"slack:{team}:{user}",
        # The message itself, not `event_id`: one that mentions the app in a thread comes as two events.
        event=f"{installed}:{channel}:{ts}",
        conversation=f"slack:{bot}:{installed}:{place}:{team}:{user}",
        attributes={"slack_team": team, "slack_user": user, "slack_channel": channel},
        to={"channel": channel, "thread": thread or ("" if direct else ts)},
        only_known=kind == "threads",
    )


def address_of(conversation: str, user: str, bot: str) -> dict[str, JSONValue] | None:
    """Where a conversation with `bot` stands, as `message_of` names it; None where it is none of Slack."""
    head, tail = f"slack:{bot}:", user.removeprefix("slack")
    if not tail or not conversation.startswith(head) or not conversation.endswith(tail):
        return None
    _, *place = conversation.removeprefix(head).removesuffix(tail).split(":")
    if len(place) not in (1, 2):
        return None
    return {"channel": place[0], "thread": place[1] if len(place) == 2 else ""}


def plain(text: str, own: Collection[str] = ()) -> str:
    """What a person wrote, without Slack's marks; mentions of the app, whose user ids are `own`, are left out."""

    def said(match: re.Match[str]) -> str:
        target, bar, label = match[1].partition("|")
        if target.startswith("@"):
            return "\0" if target[1:] in own else f"@{label or target[1:]}"
        if target.startswith("#"):
            return f"#{label or target[1:]}"
        if target.startswith("!"):
            return label if bar else f"@{target[1:].partition('^')[0]}"
        address = target.removeprefix("mailto:")
        return address if not label or label in (address, target) else f"{label} ({address})"

    read = re.sub(" ?\0", "", _MARK.sub(said, text.replace("\0", "")))
    return re.sub("&(?:lt|gt|amp);", lambda match: _ENTITIES[match[0]], read).strip()


def _kind(payload: Mapping[str, JSONValue], event: Mapping[str, JSONValue]) -> str:
    """In which of the places of `respond_to` the message was written; empty: in none."""
    if text_of(event, "type") == "app_mention":
        return "mentions"
    if text_of(event, "type") != "message":
        return ""
    if text_of(event, "channel_type") == "im":
        return "direct-messages"
    mentioned = set(re.findall(r"<@([A-Z0-9]+)", text_of(event, "text")))
    if not text_of(event, "thread_ts") or mentioned:  # to the app: then it is `app_mention` too; or to somebody else
        return ""
    return "threads"


def is_spoken(event: Mapping[str, JSONValue]) -> bool:
    """Whether a person wrote it, and it is no edit, join or topic."""
    strange = event.get("bot_id") or event.get("bot_profile") or event.get("hidden")
    return not strange and text_of(event, "subtype") in _SPOKEN and text_of(event, "user") != "USLACKBOT"


def own_of(payload: Mapping[str, JSONValue]) -> set[str]:
    """The user ids under which the app itself is known."""
    given = payload.get("authorizations")
    rows = [row for row in given if isinstance(row, dict)] if isinstance(given, list) else []
    return {text_of(row, "user_id") for row in rows} - {""}


def _team(payload: Mapping[str, JSONValue], event: Mapping[str, JSONValue]) -> str:
    """The workspace of who wrote, which in a shared channel may be another than the app's."""
    names = ("user_team", "source_team", "team")
    return next((found for name in names if (found := text_of(event, name))), text_of(payload, "team_id"))


def text_of(row: Mapping[str, JSONValue], name: str) -> str:
    """A text in an event; empty where there is none."""
    value = row.get(name)
    return value if isinstance(value, str) else ""
