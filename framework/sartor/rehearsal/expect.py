"""A reply against what is expected of it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

from sartor.errors import UsageError
from sartor.rehearsal.cost import cost_of
from sartor.rehearsal.script import Expect, ToolExpect
from sartor.spec import PriceSpec
from sartor.values import FlowNote, JSONValue, Reply, ToolUse

__all__ = ["Fault", "Similarity", "compare", "flow_line"]

Similarity = Callable[[str, str], Awaitable[float]]
"""How alike two texts are in meaning: the cosine of their vectors."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One expectation that does not hold."""

    key: str
    """The key of `expect`."""
    expected: str
    got: str


async def compare(
    expect: Expect, reply: Reply, alike: Similarity | None, *, timed: bool = True, price: PriceSpec | None = None
) -> list[Fault]:
    """The expectations that `reply` does not meet. `timed`: seconds are judged. `price` is the model's.

    Raises `UsageError` where an expectation cannot be judged, since something for it is missing.
    """
    faults = [
        *_of_outcome(expect, reply),
        *_of_text(expect, reply),
        *_of_tools(expect, reply),
        *_of_flow(expect, reply),
    ]
    if expect.language and (found := _language(reply.text)) != expect.language.partition("-")[0]:
        faults.append(Fault("language", expect.language, f"{found}: {reply.text}"))
    if expect.meaning is not None:
        if alike is None:
            raise UsageError("`meaning` needs embeddings, and the project has none", where="sartor.yaml")
        cosine = await alike(expect.meaning.like, reply.text)
        if cosine < expect.meaning.at_least:
            wanted = f"at least {expect.meaning.at_least:g} like: {expect.meaning.like}"
            faults.append(Fault("meaning", wanted, f"{cosine:.2f}: {reply.text}"))
    seconds, tokens = reply.seconds.get("total", 0.0), reply.usage.prompt + reply.usage.generated
    if timed and expect.seconds is not None and seconds > expect.seconds:
        faults.append(Fault("seconds", f"at most {expect.seconds:g}", f"{seconds:.2f}"))
    if expect.tokens is not None and tokens > expect.tokens:
        faults.append(Fault("tokens", f"at most {expect.tokens}", str(tokens)))
    if expect.cost is not None:
        if price is None:
            raise UsageError(
                f"`cost` needs the price of the model {reply.model!r}", remedy="Add it to prices in sartor.yaml."
            )
        if (cost := cost_of(reply.usage, price)) > expect.cost:
            faults.append(Fault("cost", f"at most {expect.cost:g}", f"{cost:g}"))
    return faults


def _of_outcome(expect: Expect, reply: Reply) -> Iterator[Fault]:
    if expect.outcome is not None and reply.outcome is not expect.outcome:
        why = f" ({reply.error})" if reply.error else ""
        yield Fault("outcome", expect.outcome.value, f"{reply.outcome.value}{why}: {reply.text}")
    for wanted in expect.verdicts:
        if not any(
            record.policy == wanted.policy and wanted.kind in ("", record.kind) and wanted.stage in ("", record.stage)
            for record in reply.verdicts
        ):
            said = ", ".join(f"{one.policy} {one.kind} at {one.stage}" for one in reply.verdicts) or "no verdict"
            yield Fault("verdicts", f"{wanted.policy} {wanted.kind} {wanted.stage}".strip(), said)


def _of_text(expect: Expect, reply: Reply) -> Iterator[Fault]:
    plain = _plain(reply.text)
    for text in _several(expect.text):
        if _plain(text) not in plain:
            yield Fault("text", text, reply.text)
    for text in _several(expect.never):
        if _plain(text) in plain:
            yield Fault("never", f"anything but {text!r}", reply.text)
    for pattern in _several(expect.matches):
        if not re.search(pattern, reply.text):
            yield Fault("matches", pattern, reply.text)
    cited = [citation.source for citation in reply.citations]
    for source in _several(expect.cites):
        if source not in cited and source not in [one.partition("#")[0] for one in cited]:
            yield Fault("cites", source, ", ".join(cited) or "no source")


def _of_tools(expect: Expect, reply: Reply) -> Iterator[Fault]:
    if expect.no_tools and reply.tools:
        yield Fault("no_tools", "no tool", _shown(reply.tools))
    left = list(reply.tools)
    for wanted in expect.tools:
        at = next((at for at, use in enumerate(left) if _fits(wanted, use)), None)
        if at is None:
            arguments = ", ".join(f"{name}={value!r}" for name, value in wanted.arguments.items())
            yield Fault("tools", f"{wanted.name}({arguments})", _shown(reply.tools))
        else:
            left = left[at + 1 :]


def _of_flow(expect: Expect, reply: Reply) -> Iterator[Fault]:
    wanted, note = expect.flow, reply.flow
    if wanted is None:
        return
    if wanted == "none":
        if note is not None:
            yield Fault("flow", "no flow", flow_line(note))
        return
    if note is None:
        yield Fault("flow", wanted.name or "a flow", f"no flow: {reply.text}")
        return
    told = {"name": note.name, "stage": note.stage, "slot": note.slot}
    wrong = [f"{key} {value}" for key in told if (value := getattr(wanted, key)) not in ("", told[key])]
    wrong += [f"{n}={v!r}" for n, v in wanted.values.items() if not _same(note.values.get(n), v)]
    if wrong:
        yield Fault("flow", ", ".join(wrong), flow_line(note))


def flow_line(note: FlowNote) -> str:
    """Where a flow stands, in a line."""
    known = ", ".join(f"{name}={value!r}" for name, value in note.values.items())
    return f"{note.name} {note.stage}{f' {note.slot}' if note.slot else ''}({known})"


def _fits(wanted: ToolExpect, use: ToolUse) -> bool:
    told = use.call.arguments
    return (
        use.call.name == wanted.name
        and all(_same(told.get(name), value) for name, value in wanted.arguments.items())
        and wanted.error in (None, use.result.error)
    )


def _same(given: JSONValue, wanted: JSONValue) -> bool:
    return type(given) is type(wanted) and given == wanted


def _shown(uses: Sequence[ToolUse]) -> str:
    told = [f"{use.call.name}({', '.join(f'{n}={v!r}' for n, v in use.call.arguments.items())})" for use in uses]
    return ", ".join(told) or "no tool"


def _several(value: list[str] | str) -> list[str]:
    return [value] if isinstance(value, str) else value


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _language(text: str) -> str:
    try:
        from langdetect import DetectorFactory, LangDetectException, detect
    except ModuleNotFoundError as error:
        raise UsageError(
            "`language` needs the package 'langdetect', which is not installed", remedy="pip install 'sartor[test]'"
        ) from error
    DetectorFactory.seed = 0  # its answers are drawn otherwise
    try:
        return str(detect(text)).partition("-")[0]
    except LangDetectException:
        return "none"
