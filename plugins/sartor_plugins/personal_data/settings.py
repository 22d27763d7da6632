"""What a business can set about personal data, and why the defaults are what they are."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator
from sartor.plugin import PluginSettings
from sartor.texts import Text

from sartor_plugins.personal_data.finders import Data

__all__ = ["Action", "Directions", "PersonalDataSettings"]

Action = Literal["allow", "redact", "block"]
"""``allow``: let it pass; ``redact``: put a label such as "[card number]" in its place; ``block``: end the turn
(a passage with it is left out)."""


class Directions(PluginSettings):
    """What to do with one kind of data, by where it turns up. A single word in its place stands for all four."""

    input: Action = "allow"
    """In the user's message."""
    output: Action = "allow"
    """In the reply."""
    tools: Action = "allow"
    """In the result of a tool."""
    passages: Action = "allow"
    """In a passage of the tenant's documents."""


_DEFAULTS: dict[Data, Directions] = {
    Data.CARDS: Directions(input="redact", output="block", tools="redact", passages="redact"),
    Data.IBANS: Directions(input="redact", output="block", tools="redact", passages="allow"),
    Data.EMAILS: Directions(input="allow", output="redact", tools="redact", passages="allow"),
    Data.PHONES: Directions(),
}


class PersonalDataSettings(PluginSettings):
    """Settings of the plugin `personal-data`::

        personal-data:
          cards: redact                          # everywhere
          ibans: {input: redact, output: block}  # the rest as by default
          emails: {output: redact}
          phones: allow
          allow: ["*@brightwater.example", "IE29 AIBK 9311 5212 3456 78"]

    The defaults are those of a shop:

    - **Cards** are redacted where they come in, since customers paste them and neither the model nor the database
      may hold them, while the question itself deserves an answer. In a reply there is no honest reason for one,
      so it blocks. In documents and tool results they are redacted.
    - **IBANs** likewise, but documents may show them: a business publishes its own on purpose.
    - **E-mail addresses** pass on input, because tools find an order or open a ticket by them. In replies and
      tool results they are redacted, so that the bot gives away no other customer's.
    - **Phone numbers** pass: they cannot be told from order numbers well, and hotlines are what people ask for.

    In a reply, what `allow` lists may always stand, and by `from_passages` what a passage of the same turn shows.
    An IBAN, address or phone number that the user wrote in the same turn may be repeated to them as well.
    """

    cards: Directions = _DEFAULTS[Data.CARDS]
    """Card numbers."""
    ibans: Directions = _DEFAULTS[Data.IBANS]
    """IBANs."""
    emails: Directions = _DEFAULTS[Data.EMAILS]
    """E-mail addresses."""
    phones: Directions = _DEFAULTS[Data.PHONES]
    """Phone numbers."""
    allow: tuple[str, ...] = ()
    """What may pass everywhere: an address, a pattern of addresses (``*@brightwater.example``), or a number
    however it is written."""
    from_passages: bool = True
    """Whether a reply may quote what a passage of the same turn showed."""
    requests: Literal["block", "allow"] = "block"
    """What to do when a user asks for stored payment data, or somebody else's: see the module `requests`."""
    message: Text = Field(default="", examples=["I cannot give out payment data. Please call 020 913 4400."])
    """What the user is told when a turn is blocked; empty: a text in the user's language, where that is English
    or French, or else in English."""

    @model_validator(mode="before")
    @classmethod
    def _spread(cls, given: object) -> object:
        """Write short forms out, and fill the directions that are not given from the defaults of their kind."""
        if not isinstance(given, dict):
            return given
        spread = dict(given)
        for kind, default in _DEFAULTS.items():
            value = spread.get(kind.value)
            if isinstance(value, str):
                spread[kind.value] = dict.fromkeys(Directions.model_fields, value)
            elif isinstance(value, dict):
                spread[kind.value] = default.model_dump() | value
        return spread

    def action(self, kind: Data, direction: str) -> Action:
        """What to do with `kind` in `direction`, a field of `Directions`."""
        directions: Directions = getattr(self, kind.value)
        action: Action = getattr(directions, direction)
        return action

    def guarded(self, direction: str) -> frozenset[Data]:
        """The kinds that may not simply pass in `direction`."""
        return frozenset(kind for kind in Data if self.action(kind, direction) != "allow")
