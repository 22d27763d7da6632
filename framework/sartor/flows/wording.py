"""What flows say: the template's texts with what is known put in."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from sartor.flows.dates import show_date
from sartor.flows.spec import PLACEHOLDER, FlowReplies, FlowSpec, placeholders
from sartor.flows.state import Flow
from sartor.grounding import readable
from sartor.texts import Text, in_language
from sartor.values import JSONValue

__all__ = ["Wording", "parts_of"]

_YES_NO: Mapping[bool, Text] = {True: {"en": "yes", "fr": "oui"}, False: {"en": "no", "fr": "non"}}
_SKIP: Text = {"en": "Skip", "fr": "Passer"}


def parts_of(result: str) -> dict[str, str]:
    """The parts of a tool's result, as texts; none where it is no mapping."""
    try:
        parts = json.loads(result)
    except ValueError:
        return {}
    told = parts.items() if isinstance(parts, dict) else ()
    return {name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for name, value in told}


_SHOWN = 20
"""Of the options that a tool gives; the others may be named as well."""


class Wording:
    """The texts of one flow in one language."""

    def __init__(self, spec: FlowSpec, replies: FlowReplies, language: str) -> None:
        self._spec = spec
        self._replies = replies
        self._language = language

    @property
    def title(self) -> str:
        return in_language(self._spec.title, self._language)

    def own(self, reply: str, **told: str) -> str:
        """One of `FlowReplies`, by its name."""
        return self._filled(getattr(self._replies, reply), told)

    def question(self, flow: Flow) -> str:
        """What the flow waits for an answer to."""
        if flow.stage == "confirming":
            return self.confirm(flow)
        if flow.stage == "changing":
            return self.own("change")
        slot = self._spec.slots[flow.asked]
        asked = [self._filled(slot.ask, self.shown(flow))]
        if slot.optional:
            asked.append(self.own("skip"))
        asked = [" ".join(asked)]
        asked += [f"- {option}" for option in self._choices(flow)]
        return "\n".join(asked)

    def options(self, flow: Flow) -> list[str]:
        """What may be answered with a click to the question that the flow waits at: the choices, as far as they are
        shown, yes and no, and that it is skipped."""
        if flow.stage != "asking" or flow.asked not in self._spec.slots:
            return []
        slot = self._spec.slots[flow.asked]
        answers = [self._show(flow.asked, yes).capitalize() for yes in (True, False)] if slot.type == "yes_no" else []
        skip = [in_language(_SKIP, self._language)] if slot.optional else []
        return [*self._choices(flow), *answers, *skip]

    def _choices(self, flow: Flow) -> list[str]:
        fixed = self._spec.slots[flow.asked].options.values()
        return [in_language(label, self._language) for label in fixed] or [*flow.options.get(flow.asked, ())[:_SHOWN]]

    def wrong(self, flow: Flow, name: str) -> str:
        """What is said of a value that does not fit, or where there was none."""
        text, shown = self._spec.slots[name].wrong, self.shown(flow)
        told = all(shown.get(named) for named, _ in placeholders(text))
        return (self._filled(text, shown) if told else "") or self.own("again")

    def none(self, flow: Flow, name: str) -> str:
        return self._filled(self._spec.slots[name].none, self.shown(flow))

    def confirm(self, flow: Flow) -> str:
        """What is to be done, to be agreed to."""
        if self._spec.confirm:
            return self._filled(self._spec.confirm, self.shown(flow))
        return "\n".join([self.own("confirm"), *(f"- {label}: {value}" for label, value in self.known(flow).items())])

    def done(self, flow: Flow, result: str) -> str:
        """That it is done."""
        if not self._spec.done:
            return readable(result)
        parts = {f"result.{name}": value for name, value in parts_of(result).items()}
        return self._filled(self._spec.done, {**self.shown(flow), "result": readable(result), **parts})

    def known(self, flow: Flow) -> dict[str, str]:
        """What the flow knows, by label, as people read it."""
        shown = self.shown(flow)
        return {self.label(name): shown[name] for name in self._spec.slots if name in flow.values}

    def shown(self, flow: Flow) -> dict[str, str]:
        """What the flow knows, by slot, as people read it; empty for what it does not know."""
        shown = {name: self._show(name, flow.values.get(name)) for name in self._spec.slots}
        return shown | {f"{name}.{part}": told for name, parts in flow.checked.items() for part, told in parts.items()}

    def label(self, name: str) -> str:
        """A slot's label, as it begins a line."""
        label = in_language(self._spec.slots[name].label, self._language) or name.replace("_", " ")
        return f"{label[:1].upper()}{label[1:]}"

    def _show(self, name: str, value: JSONValue) -> str:
        slot = self._spec.slots[name]
        if value is None:
            return ""
        if isinstance(value, bool):
            return in_language(_YES_NO[value], self._language)
        if slot.type == "date":
            return show_date(str(value), self._language)
        if slot.type == "choice" and str(value) in slot.options:
            return in_language(slot.options[str(value)], self._language)
        return str(value)

    def _filled(self, text: Text, told: Mapping[str, str]) -> str:
        """`text` with what stands in braces replaced; a part of a result that is not there becomes a dash."""

        def value(match: re.Match[str]) -> str:
            name = f"{match[1]}.{match[2]}" if match[2] else match[1]
            return told.get(name, "–" if match[2] else match[0])

        return PLACEHOLDER.sub(value, in_language(text, self._language))
