"""The policy that keeps personal data out of a turn."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import lru_cache

from sartor.policy import ALLOW, Draft, Edit, Kind, Policy, Verdict, block, rewrite
from sartor.texts import Text, in_language
from sartor.values import BotInfo, Passage, ToolCall, ToolResult, Turn

from sartor_plugins.personal_data.finders import LONGEST, Data, Found, compact, find
from sartor_plugins.personal_data.fold import hides
from sartor_plugins.personal_data.requests import Requests
from sartor_plugins.personal_data.settings import Directions, PersonalDataSettings

__all__ = ["PersonalData"]

_LABELS: dict[str, dict[Data, str]] = {
    "en": {
        Data.CARDS: "[card number]",
        Data.IBANS: "[IBAN]",
        Data.EMAILS: "[e-mail address]",
        Data.PHONES: "[phone number]",
    },
    "fr": {
        Data.CARDS: "[numéro de carte]",
        Data.IBANS: "[IBAN]",
        Data.EMAILS: "[adresse e-mail]",
        Data.PHONES: "[numéro de téléphone]",
    },
}
_NAMES = {
    Data.CARDS: "a card number",
    Data.IBANS: "an IBAN",
    Data.EMAILS: "an e-mail address",
    Data.PHONES: "a phone number",
}
_REFUSAL: Text = {
    "en": "I do not give out card numbers, bank details or other people's personal data.",
    "fr": "Je ne communique ni numéros de carte, ni coordonnées bancaires, ni données personnelles d'autrui.",
}
_DO_NOT_SEND: Text = {
    "en": "Please do not send card numbers, bank details or other personal data in this chat.",
    "fr": "Merci de ne pas envoyer de numéros de carte, de coordonnées bancaires ni d'autres données personnelles"
    " dans cette conversation.",
}
_MOST_TURNS = 1024
_MOST_VALUES = 500


class PersonalData(Policy):
    """Redacts or blocks card numbers, IBANs, e-mail addresses and phone numbers; refuses requests for them.

    It cannot see what is put into words ("four one one one"), spread over several turns, or drawn.
    """

    window = LONGEST

    def __init__(self, settings: PersonalDataSettings, bot: BotInfo) -> None:
        self._settings = settings
        self._guards = {direction: settings.guarded(direction) for direction in Directions.model_fields}
        self._requests = Requests(value for value in bot.values.values() if isinstance(value, str))
        self._addresses = tuple(item.casefold() for item in settings.allow if "@" in item)
        self._numbers = frozenset(compact(item) for item in settings.allow if "@" not in item)
        # Of each turn under way, what its reply may repeat. Bounded: a turn that is pushed out may repeat less.
        self._known: OrderedDict[str, set[str]] = OrderedDict()
        # Of passages, which come up again and again, what was found in them.
        self._in_passage = lru_cache(maxsize=256)(self._look_at_passage)
        if not self._guards["output"]:
            self.window = 0

    async def input(self, turn: Turn, text: str) -> Verdict:
        if self._settings.requests == "block" and self._requests.asks(text):
            return block("rule: asks for stored or another person's payment data", self._say(turn, _REFUSAL))
        return self._judge(turn, self._guarded(text, "input"), "input", _DO_NOT_SEND)

    async def passage(self, turn: Turn, passage: Passage) -> Verdict:
        guarded, shown = self._in_passage(passage.text)
        verdict = self._judge(turn, guarded, "passages", _REFUSAL) if guarded else ALLOW
        if shown and self._settings.from_passages and verdict.kind is not Kind.BLOCK:
            known = self._known_in(turn)
            known.update(shown[: max(0, _MOST_VALUES - len(known))])
        return verdict

    def _look_at_passage(self, text: str) -> tuple[list[Found], list[str]]:
        """What may not simply pass, and the values that the reply may repeat."""
        shown = find(text, frozenset(Data) - self._guards["passages"])
        return self._guarded(text, "passages"), [found.value for found in shown]

    async def tool_result(self, turn: Turn, call: ToolCall, result: ToolResult) -> Verdict:
        return self._judge(turn, self._guarded(result.text, "tools"), "tools", _REFUSAL)

    async def output(self, turn: Turn, draft: Draft) -> Verdict:
        if not self._guards["output"]:
            return ALLOW
        known = self._known_in(turn)
        if draft.final:
            del self._known[turn.id]
        start = _settled(draft.text, draft.released)
        text = draft.text[start:]
        found = [item for item in self._guarded(text, "output") if item.value not in known]
        if hides(text) or any(item.end - item.start > self.window for item in found):
            return block("rule: characters kept apart by invisible ones", self._say(turn, _REFUSAL))
        return self._judge(
            turn, [replace(item, start=item.start + start, end=item.end + start) for item in found], "output", _REFUSAL
        )

    def _guarded(self, text: str, direction: str) -> list[Found]:
        """What stands in `text` that may not simply pass in `direction`."""
        return [found for found in find(text, self._guards[direction]) if not self._allowed(found)]

    def _allowed(self, found: Found) -> bool:
        if found.kind is Data.EMAILS:
            return any(fnmatchcase(found.value, pattern) for pattern in self._addresses)
        return found.value in self._numbers

    def _judge(self, turn: Turn, found: list[Found], direction: str, refusal: Text) -> Verdict:
        """Block where the settings of any of `found` say so, or else put labels in place of them."""
        for item in found:
            if self._settings.action(item.kind, direction) == "block":
                return block(f"rule: {_NAMES[item.kind]}", self._say(turn, refusal))
        labels = _LABELS.get(turn.language.partition("-")[0], _LABELS["en"])
        kinds = sorted({_NAMES[item.kind] for item in found})
        return rewrite([Edit(item.start, item.end, labels[item.kind]) for item in found], f"rule: {', '.join(kinds)}")

    def _known_in(self, turn: Turn) -> set[str]:
        """What the reply may repeat: at first, what the user wrote (cards never)."""
        if turn.id not in self._known:
            own = find(turn.text, frozenset(Data) - {Data.CARDS})
            self._known[turn.id] = {found.value for found in own[:_MOST_VALUES]}
            if len(self._known) > _MOST_TURNS:
                self._known.popitem(last=False)
        return self._known[turn.id]

    def _say(self, turn: Turn, default: Text) -> str:
        return in_language(self._settings.message or default, turn.language)


def _settled(text: str, released: int) -> int:
    """Where to begin looking: the last mark before `released` that no match can reach across.

    Such is a comma, colon or line end after a letter. It spares looking at all of a long reply for each token.
    """
    at = released
    while (at := max(text.rfind(mark, 0, at) for mark in ",;:\n")) > 0:
        if text[at - 1].isascii() and text[at - 1].isalpha():
            return at
    return 0
