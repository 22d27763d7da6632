"""The Slack channel in which people are told of hand-overs, and answer in threads.

Which thread is of which hand-over stands in Slack alone, as metadata of the thread's first message: any process can
look it up, and nothing is lost with one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from sartor.channels import Notice, Said
from sartor.errors import DeliveryError
from sartor.texts import Text, in_language
from sartor.values import BotInfo, HandOver, JSONValue

from sartor_plugins.slack.events import is_spoken, own_of, plain, text_of
from sartor_plugins.slack.mrkdwn import escape, split
from sartor_plugins.slack.post import section
from sartor_plugins.slack.settings import SlackSettings
from sartor_plugins.slack.web import SlackWeb

__all__ = ["People"]

_KIND: Final = "sartor_handover"
_KNOWN = 1000
_PAGES = 5
_BLOCK = 2900
_BLOCKS = 4
_LONGEST = 200
_HINT: Text = {
    "en": "What you write in this thread is said to the user in your name. Write “{word}” to give it back to the bot.",
    "fr": "Ce que vous écrivez ici est dit à l'utilisateur en votre nom. Écrivez « {word} » pour rendre la main.",
}
_RELEASED: Text = {
    "en": "The bot has the conversation again.",
    "fr": "Le bot a repris la conversation.",
}
_COLLEAGUE: Text = {"en": "A colleague", "fr": "Un collègue"}


class People:
    """The hand-overs of one bot, each a thread."""

    def __init__(self, bot: BotInfo, settings: SlackSettings, web: SlackWeb) -> None:
        self._bot = bot
        self._settings = settings
        self._web = web
        self._threads: OrderedDict[str, str] = OrderedDict()
        """The hand-over of each first message that was seen; empty for one that is of none."""
        self._names: OrderedDict[str, str] = OrderedDict()

    async def tell(self, notice: Notice) -> None:
        """Begin a thread for a new hand-over, or go on with it. Raises `DeliveryError`."""
        if notice.kind == "started":
            told = await self._web.call("chat.postMessage", self._first(notice.handover))
            _keep(self._threads, text_of(told, "ts"), notice.handover.id)
            return
        by = f"*{escape(_line(notice.author))}:* " if notice.author else ""
        said = in_language(_RELEASED, self._bot.language) if notice.kind == "released" else notice.text
        thread = await self._thread(notice.handover)
        for piece in split(f"{by}{escape(said)}", _BLOCK):
            await self._web.call("chat.postMessage", {**self._post(piece, [section(piece)]), "thread_ts": thread})

    async def heard(self, payload: Mapping[str, JSONValue]) -> tuple[Said, ...] | None:
        """What a person says by an event; None where it has nothing to do with hand-overs. Raises `DeliveryError`."""
        event = payload.get("event")
        if not isinstance(event, dict) or not (first := self._place(event)):
            return None
        reaction, user = text_of(event, "reaction"), text_of(event, "user")
        if (reaction and reaction != self._settings.release_reaction) or not self._welcome(payload, event):
            return ()
        if not (handover := await self._handover(first)):
            return None
        text = plain(text_of(event, "text"), own_of(payload))
        if not reaction and (text_of(event, "type") != "message" or not is_spoken(event) or not text):
            return ()
        done = reaction or text.casefold().strip(" .!") in [word.casefold() for word in self._settings.release]
        what = f"{first}:{reaction}" if reaction else text_of(event, "ts")
        by = await self._name(user)
        return (Said(handover, by, f"{self._settings.people}:{what}:{user}", "" if done else text),)

    def _place(self, event: Mapping[str, JSONValue]) -> str:
        """The first message of the thread of the people's channel in which something was written, or the message there
        to which somebody reacted; empty for any other event."""
        item = event.get("item") if text_of(event, "type") == "reaction_added" else event
        if not self._settings.people or not isinstance(item, dict) or text_of(item, "channel") != self._settings.people:
            return ""
        first = text_of(item, "thread_ts" if item is event else "ts")
        return "" if first == text_of(event, "ts") else first

    def _welcome(self, payload: Mapping[str, JSONValue], event: Mapping[str, JSONValue]) -> bool:
        """Whether somebody of the right workspace did it, and not the app itself."""
        user, teams = text_of(event, "user"), self._settings.teams
        team = text_of(event, "user_team") or text_of(event, "team") or text_of(payload, "team_id")
        return bool(user) and user not in own_of(payload) and (not teams or team in teams)

    def _first(self, there: HandOver) -> dict[str, JSONValue]:
        """The message that begins the thread. Nothing in it can be a mention or a link."""
        title = f"*{escape(self._bot.id)}: {escape(_line(there.reason))}*"
        word = self._settings.release[0] if self._settings.release else ""
        hint = in_language(_HINT, self._bot.language).format(word=escape(word))
        blocks = [section(title)]
        blocks += [section(piece) for piece in split(escape(there.summary), _BLOCK)[:_BLOCKS]]
        blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": hint, "verbatim": True}]})
        payload: JSONValue = {"id": there.id, "bot": self._bot.id}
        return {**self._post(title, blocks), "metadata": {"event_type": _KIND, "event_payload": payload}}

    def _post(self, text: str, blocks: list[dict[str, JSONValue]]) -> dict[str, JSONValue]:
        return {
            "channel": self._settings.people,
            "text": text,
            "blocks": list(blocks),
            "parse": "none",
            "unfurl_links": False,
            "unfurl_media": False,
        }

    async def _thread(self, there: HandOver) -> str:
        """The first message of a hand-over's thread, looked for near the time at which it began."""
        for ts, handover in self._threads.items():
            if handover == there.id:
                return ts
        span = {
            "oldest": f"{(there.since - timedelta(minutes=1)).timestamp():.6f}",
            "latest": f"{(there.since + timedelta(hours=1)).timestamp():.6f}",
        }
        cursor = ""
        for _ in range(_PAGES):
            asked = {"channel": self._settings.people, "limit": "200", "include_all_metadata": "true", **span}
            told = await self._web.ask("conversations.history", **asked, **({"cursor": cursor} if cursor else {}))
            for message in _messages(told):
                if self._of(message) == there.id:
                    _keep(self._threads, text_of(message, "ts"), there.id)
                    return text_of(message, "ts")
            more = told.get("response_metadata")
            cursor = text_of(more, "next_cursor") if isinstance(more, dict) else ""
            if not cursor:
                break
        raise DeliveryError(f"the thread of hand-over {there.id} is not in the Slack channel", again=False)

    async def _handover(self, first: str) -> str:
        """The hand-over whose thread begins with a message; empty where that is of none."""
        if first not in self._threads:
            asked = {"channel": self._settings.people, "ts": first, "limit": "1", "include_all_metadata": "true"}
            found = _messages(await self._web.ask("conversations.replies", **asked))
            _keep(self._threads, first, self._of(found[0]) if found and text_of(found[0], "ts") == first else "")
        return self._threads[first]

    def _of(self, message: Mapping[str, JSONValue]) -> str:
        """The hand-over of this bot that a message of an app tells of."""
        metadata = message.get("metadata")
        payload = metadata.get("event_payload") if isinstance(metadata, dict) else None
        if not message.get("bot_id") or not isinstance(metadata, dict) or not isinstance(payload, dict):
            return ""
        right = text_of(metadata, "event_type") == _KIND and text_of(payload, "bot") == self._bot.id
        return text_of(payload, "id") if right else ""

    async def _name(self, user: str) -> str:
        """What the user is told that the person is called."""
        if user not in self._names:
            try:
                told = (await self._web.ask("users.info", user=user)).get("user")
            except DeliveryError:  # without the scope `users:read`
                return in_language(_COLLEAGUE, self._bot.language)
            profile = told.get("profile") if isinstance(told, dict) else None
            shown = profile if isinstance(profile, dict) else {}
            names = (_line(text_of(shown, name)) for name in ("display_name", "real_name"))
            found = next((name for name in names if name), in_language(_COLLEAGUE, self._bot.language))
            _keep(self._names, user, found[:_LONGEST])
        return self._names[user]


def _messages(told: Mapping[str, JSONValue]) -> list[dict[str, JSONValue]]:
    rows = told.get("messages")
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _keep(known: OrderedDict[str, str], key: str, value: str) -> None:
    known[key] = value
    if len(known) > _KNOWN:
        known.popitem(last=False)


def _line(text: str) -> str:
    return " ".join(text.split())
