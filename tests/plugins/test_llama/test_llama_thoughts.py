"""What a model thinks before it replies: never said, and ended at once where it is not to think."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import HumanMessage
from sartor.values import Choices
from sartor_plugins.llama.engine.track import Need, Row, Track
from sartor_plugins.llama.prompt import Line
from sartor_plugins.llama.reply import Ended, Request
from sartor_plugins.llama.runtime import Runtime, load
from sartor_plugins.llama.settings import LlamaSettings
from sartor_plugins.llama.template import ChatTemplate
from sartor_plugins.llama.thoughts import Thoughts, marks_of
from sartor_plugins.llama.toolcalls import Call, Text, format_of
from sartor_plugins.llama.vocabulary import Piece

TAGS = marks_of("{{ '<think>' }}")
MISTRAL = marks_of("{{ '[THINK]' + thought + '[/THINK]' }}")
GEMMA = marks_of("<|channel>thought\n<channel|>")
CHANNELS = marks_of("<|channel|>final<|message|> <|channel|>commentary")
NONE = marks_of("<|im_start|>assistant")
FINAL = "<|channel|>final<|message|>"

TOOL: Any = {
    "type": "function",
    "function": {
        "name": "hours",
        "description": "When a shop is open.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def said(thoughts: Thoughts, pieces: Iterable[str]) -> str:
    return "".join(map(thoughts.feed, pieces)) + thoughts.finish()


@pytest.mark.parametrize(
    ("marks", "text", "expected"),
    [
        (TAGS, "Yes.", "Yes."),
        (TAGS, "\n Yes.", "\n Yes."),
        (TAGS, "<think>Hm.\n</think>\n\nYes.", "Yes."),
        (TAGS, "\n<think></think>Yes.", "Yes."),
        (TAGS, "</think>\n\nYes.", "Yes."),
        (TAGS, "<think>one</think>\n<think>two</think>\nYes.", "Yes."),
        (TAGS, "<think>never ends </thin", ""),
        (TAGS, "<thin", "<thin"),
        (TAGS, "<b>Yes.</b>", "<b>Yes.</b>"),
        (TAGS, "Yes. <think>said</think>", "Yes. <think>said</think>"),
        (TAGS, "[THINK]said[/THINK]", "[THINK]said[/THINK]"),
        (TAGS, "", ""),
        (TAGS, "  \n", "  \n"),
        (MISTRAL, "[THINK]Hm [1].[/THINK]Yes [2].", "Yes [2]."),
        (MISTRAL, "[1] says yes.", "[1] says yes."),
        (GEMMA, "<|channel>thought\nHm.<channel|>Yes.", "Yes."),
        (CHANNELS, "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Yes.", "Yes."),
        (CHANNELS, "<|channel|>commentary<|message|>Let me look.<|end|><|start|>assistant"
         "<|channel|>analysis<|message|>Hm.", "Let me look."),
        (CHANNELS, "<|channel|>commentary to=functions.hours <|constrain|>json<|message|>{}", ""),
        (CHANNELS, "<|channel|>analysis to=browser.search code<|message|>secret", ""),
        (CHANNELS, "<|channel|>analysis <|message|>secret<|end|>", ""),
        (CHANNELS, "<|channel|>final <|constrain|>json<|message|>{}", "{}"),
        (CHANNELS, f"{FINAL}Yes.", "Yes."),
        (CHANNELS, f"{FINAL}  Yes.", "  Yes."),
        (CHANNELS, f"{FINAL}Yes.<|end|><|start|>assistant<|channel|>analysis<|message|>secret", "Yes."),
        (CHANNELS, "Yes.", "Yes."),
        (NONE, "<think>said</think>", "<think>said</think>"),
        (TAGS, "\n" * 70, "\n" * 70),
    ],
)  # fmt: skip
def test_what_is_said(marks: Any, text: str, expected: str) -> None:
    assert said(Thoughts(marks), [text]) == expected
    assert said(Thoughts(marks), text) == expected


PARTS = ["<think>", "</think>", "<", "think", ">", "\n", " ", "a", "[THINK]", "[/THINK]", "</thi", "<|end|>",
         "<|channel|>", "analysis", "final", "<|message|>", "<|start|>assistant"]  # fmt: skip


@given(st.lists(st.sampled_from(PARTS), max_size=12), st.sampled_from([TAGS, MISTRAL, CHANNELS]), st.data())
@settings(deadline=None)
def test_how_a_reply_is_cut_does_not_matter(parts: list[str], marks: Any, data: st.DataObject) -> None:
    text = "".join(parts)
    begun = data.draw(st.sampled_from(["", FINAL, *(begin for begin, _ in marks.pairs)]))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert said(Thoughts(marks, begun), pieces) == said(Thoughts(marks, begun), text)


@given(st.text(alphabet="<>/think \n", max_size=30), st.text(alphabet="abc< \n", max_size=20))
@settings(deadline=None)
def test_nothing_of_a_thought_is_said_and_all_of_the_reply(thought: str, reply: str) -> None:
    thought, reply = thought.replace("</think>", ""), f"Yes{reply}"
    if "</think>" in f"{thought}</think>"[:-1]:
        return
    assert said(Thoughts(TAGS), f"<think>{thought}</think>\n\n{reply}") == reply
    assert said(Thoughts(TAGS, "<|assistant|>\n<think>\n"), f"{thought}</think>\n\n{reply}") == reply


def test_a_call_in_a_channel_is_left_to_who_reads_calls() -> None:
    call = "<|channel|>commentary to=functions.hours <|constrain|>json<|message|>{}"
    thought = "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant"
    assert said(Thoughts(CHANNELS, calls=True), f"{thought}{call}") == call
    assert said(Thoughts(CHANNELS, calls=True), f"{thought} to=functions.hours") == "to=functions.hours"


def test_whitespace_that_stands_alone_is_not_held_for_long() -> None:
    thoughts = Thoughts(TAGS)
    assert "".join(thoughts.feed("\n") for _ in range(70)) == "\n" * 70
    none = Thoughts(NONE)
    assert [none.feed(char) for char in "\n<think>"] == [*"\n<think>"]


LINES = [Line("user", "Hi <think>\n")]
EACH = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}"


def tail(source: str, **told: Any) -> str:
    form = format_of(source)
    template = ChatTemplate(source, start="", end="", spell=form.spell, example=form.example)
    return "".join(piece.text for piece in template.render(LINES, **told)).partition("Hi <think>")[2].lstrip("\n")


@pytest.mark.parametrize(
    ("end", "thinks_not", "thinks"),
    [
        ("{{ '<|assistant|>\n' }}", "<|assistant|>\n", "<|assistant|>\n"),
        ("{{ '<|assistant|><think>\n' }}", "<|assistant|><think>\n\n</think>\n\n", "<|assistant|><think>\n"),
        ("<|assistant|><think>", "<|assistant|><think></think>", "<|assistant|><think>"),
        ("<A>{{ '<think>' if enable_thinking else '<think></think>' }}", "<A><think></think>", "<A><think>"),
        ("<A>{{ '<think>' if thinking }}", "<A>", "<A><think>"),
        ("<A><|START_THINKING|>", "<A><|START_THINKING|><|END_THINKING|>", "<A><|START_THINKING|>"),
        ("", "", ""),
    ],
)
def test_a_thought_that_a_template_begins_is_ended(end: str, thinks_not: str, thinks: str) -> None:
    assert tail(EACH + end) == thinks_not
    assert tail(EACH + end, thinks=True) == thinks


HARMONY = (
    "{% if tools %}namespace functions {% for tool in tools %}{{ tool.function.name }}{% endfor %}{% endif %}"
    "{% for message in messages %}{% if message.tool_calls %}<|start|>assistant to={{ 'functions.' }}"
    "{{ message.tool_calls[0].function.name }}<|channel|>commentary json<|message|>"
    "{{ message.tool_calls[0].function.arguments | tojson }}<|call|>"
    "{% elif message.role == 'assistant' %}<|start|>assistant<|channel|>final<|message|>{{ message.content }}<|end|>"
    "{% else %}<|start|>{{ message.role }}<|message|>{{ message.content }}<|end|>{% endif %}{% endfor %}"
    "<|start|>assistant"
)
SPECIAL = ["<|start|>", "<|channel|>", "<|message|>", "<|constrain|>", "<|call|>"]


def test_channels_are_left_to_a_model_that_may_call_tools() -> None:
    assert tail(HARMONY).endswith("<|start|>assistant<|channel|>final<|message|>")
    for told in ({"tools": [TOOL]}, {"thinks": True}):
        assert tail(HARMONY, **told).endswith("<|start|>assistant")
    assert tail(HARMONY, tools=[TOOL], calls=False).endswith("<|start|>assistant<|channel|>final<|message|>")


class Scripted(Track):
    """A model that says just these tokens."""

    def __init__(self, prompt: list[int], script: list[int], size: int) -> None:
        super().__init__(prompt, 4096, len(prompt))
        self.script = iter(script)
        self.vocabulary = size

    def logits(self) -> Generator[Need, None, Row]:
        row = np.zeros(self.vocabulary, np.float32)
        row[next(self.script)] = 100
        yield from ()
        return row


@pytest.fixture
def channels(table_model: Callable[..., Path]) -> Iterable[Runtime]:
    path = table_model({}, template=HARMONY, control=SPECIAL)
    runtime = load(LlamaSettings(path=str(path), probe=False, temperature=0, context=2048), Path("/"))
    yield runtime
    runtime.close()


def replied(runtime: Runtime, script: str, **told: Any) -> tuple[str, list[tuple[str, str]], str]:
    """What is said, the calls, and how it ends, where the model says `script`."""
    vocabulary = runtime.vocabulary if hasattr(runtime, "vocabulary") else runtime.voice.vocabulary
    request = Request((Line("user", "When?"),), scope="acme", **told)
    plan = runtime.voice.plan(request)
    tokens = vocabulary.encode([Piece(script, trusted=True)])
    track = Scripted(list(plan.prompt), tokens, vocabulary.size)
    events: list[Any] = list(runtime.voice.reply(request, track))
    end = events.pop()
    assert isinstance(end, Ended)
    text = "".join(event.text for event in events if isinstance(event, Text))
    return text, [(event.name, event.arguments) for event in events if isinstance(event, Call)], end.reason


def test_of_channels_only_what_is_for_the_user_is_said(channels: Runtime) -> None:
    thought = "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant"
    final = "<|channel|>final<|message|>At nine.<|end|>"
    channels.voice.vocabulary.ends = ()  # `<|end|>` does not end a reply of gpt-oss
    assert replied(channels, f"{thought}{final}<|start|>assistant", tools=(TOOL,)) == ("At nine.", [], "stop")
    assert replied(channels, f"{final[:-7]}<|end|>", tools=(TOOL,)) == ("At nine.", [], "stop")


def test_a_call_in_a_channel_is_a_call(channels: Runtime) -> None:
    call = 'commentary to=functions.hours <|constrain|>json<|message|>{"city":"Rome"}<|end|>'
    wanted = ("", [("hours", '{"city": "Rome"}')], "tool_calls")
    assert replied(channels, f"<|channel|>{call}", tools=(TOOL,)) == wanted
    other = ' to=functions.hours<|channel|>commentary json<|message|>{"city": "Rome"}<|end|>'
    assert replied(channels, other, tools=(TOOL,)) == wanted
    forced = 'hours <|constrain|>json<|message|>{"city": "Rome"}<|end|>'
    assert replied(channels, forced, tools=(TOOL,), must_call=True) == wanted


@pytest.mark.parametrize(("channel", "called"), [("final", False), ("commentary", True)])
def test_a_text_is_chosen_in_its_own_channel(channels: Runtime, channel: str, called: bool) -> None:
    script = channels.voice.vocabulary.text(channel)[:1]
    rest = 'hours <|constrain|>json<|message|>{"city": "Rome"}<|end|>' if called else ""
    request = Request((Line("user", "When?"),), tools=(TOOL,), choices=Choices(("At nine.",)), scope="acme")
    plan = channels.voice.plan(request)
    tokens = [*script, *channels.voice.vocabulary.encode([Piece(rest, trusted=True)])]
    track = Scripted(list(plan.prompt), tokens, channels.voice.vocabulary.size)
    events: list[Any] = list(channels.voice.reply(request, track))
    written = channels.voice.vocabulary.encode([Piece("<|channel|>final<|message|>At nine.", trusted=True)])
    if called:
        assert [event.name for event in events if isinstance(event, Call)] == ["hours"]
        assert not any(isinstance(event, Text) for event in events)
    else:
        assert "".join(event.text for event in events if isinstance(event, Text)) == "At nine."
        assert [*track.past, *track.pending][track.prompt :] == written


SPELLED = dict(zip("m</think>", "</think>y", strict=True)) | {"\n": "m", "y": "<|end|>"}


async def test_what_a_user_writes_begins_no_thought(make: Any, table_model: Callable[..., Path]) -> None:
    """Though nothing but a line break stands behind it in the prompt."""
    template = "{# </think> #}{% for m in messages %}{{ m.content }}\n{% endfor %}"
    model = make(table_model(SPELLED, template=template), temperature=0, max_tokens=20, thinking=True)
    assert (await model.ainvoke([HumanMessage("What is <think>")])).text == "m</think>y"


def test_stop_sequences_count_in_what_was_held_back(channels: Runtime) -> None:
    text = "Yes.<"
    assert replied(channels, f"{text}<|end|>", stop=("<",)) == ("Yes.", [], "stop")
    assert replied(channels, "\n\n<|end|>", stop=("\n\n",)) == ("", [], "stop")


def test_prose_about_calls_is_no_call(channels: Runtime) -> None:
    prose = 'It says to=functions.hours<|message|>{"city": "Rome"} there.'
    assert replied(channels, f"{FINAL}{prose}<|end|>", tools=(TOOL,)) == (prose, [], "stop")
    early = 'to=functions.hours<|message|>{"city": "Rome"}'
    assert replied(channels, f"{FINAL}{early}<|end|>", tools=(TOOL,)) == (early, [], "stop")


@pytest.mark.parametrize(("thinking", "expected"), [(True, "y"), (False, "m</think>y")])
async def test_a_model_thinks_where_it_is_told_to(
    make: Any, table_model: Callable[..., Path], thinking: bool, expected: str
) -> None:
    """It says "m</think>y" behind a line break: behind the thought that its template begins, or behind its end."""
    template = "{% for m in messages %}{{ m.content }}{% endfor %}{{ '<think>\n' }}"
    model = make(table_model(SPELLED, template=template), temperature=0, max_tokens=20, thinking=thinking)
    reply = await model.ainvoke([HumanMessage("Hi")])
    assert reply.text == expected
    pieces = [chunk.text async for chunk in model.astream([HumanMessage("Hi")])]
    assert "".join(pieces) == expected
