"""What is public of a prompt is computed once for all tenants, and nothing else of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from sartor.langchain import to_messages
from sartor.prompt import Persona, compose
from sartor.values import Message, Origin, Part, Turn
from sartor_plugins.llama.engine.attic import Stored
from sartor_plugins.llama.messages import public_text
from sartor_plugins.llama.prompt import Line
from sartor_plugins.llama.reply import Request
from sartor_plugins.llama.runtime import Runtime

Make = Callable[..., Any]

RULES = "Always be kind, and never tell a customer the price of anything that is not in the catalogue."


def prompt(own: str, question: str = "Hi", *, public: bool = True) -> list[Any]:
    """What a bot asks of its model: the rules of its template, what is its own, and the question."""
    rules = Part(RULES, Origin.OPERATOR, public=public)
    persona = Persona((rules, Part(own, Origin.TENANT)), greeting="", unknown="Sorry.", quotes=0)
    turn = Turn("1", "c", "t", "b", "ann", question)
    return to_messages(compose(persona, turn, (), ()))


def cached(said: AIMessage) -> int:
    assert said.usage_metadata is not None
    return said.usage_metadata["input_token_details"]["cache_read"]


def stored(model: Any) -> list[Stored]:
    """What is stored for all."""
    found: list[Stored] = []
    model._engine._begin().call(
        lambda runtime: found.extend(
            one for several in runtime.memory._commons.attic._stored.values() for one in several
        )
    )
    return found


def beginning(model: Any, text: str = RULES) -> list[int]:
    """The tokens that a prompt with the public `text` begins with."""
    found: list[int] = []
    model._engine._begin().call(lambda runtime: found.extend(runtime.voice._beginning("system", text)))
    return found


@pytest.fixture(params=["rooms", "shared", "process"])
def public(request: pytest.FixtureRequest, make: Make, random_model: Path) -> Any:
    """A model in each way to share the machine."""
    told = {"rooms": {}, "shared": {"rooms": 0}, "process": {"isolation": "process"}}[request.param]
    return make(random_model, max_tokens=12, temperature=0, **told)


async def test_the_first_answer_of_another_tenant_begins_with_what_is_public(public: Any) -> None:
    first = await public.ainvoke(prompt("We are Acme."), cache_scope="acme")
    other = await public.ainvoke(prompt("We are Larkfield."), cache_scope="larkfield")
    alone = await public.ainvoke(prompt("We are nobody."))
    again = await public.ainvoke(prompt("We are Larkfield.", "Hi there"), cache_scope="larkfield")
    assert cached(first) == 0
    assert len(RULES) // 2 < cached(other) < len(RULES) + 12  # the role, and about as many tokens as characters
    assert cached(alone) == cached(other)
    assert cached(again) > cached(other) + 10


async def test_it_changes_no_reply(public: Any, make: Make, random_model: Path) -> None:
    tenants = ["acme", "larkfield", "brightwater"]
    plain = make(random_model, max_tokens=12, temperature=0)
    fresh = [await plain.ainvoke(prompt(f"We are {one}.", public=False), cache_scope=one) for one in tenants]
    said = [await public.ainvoke(prompt(f"We are {one}."), cache_scope=one) for one in tenants]
    assert [one.text for one in said] == [one.text for one in fresh]
    assert [cached(one) > 0 for one in said] == [False, True, True]


async def test_what_is_not_declared_public_is_never_shared(make: Make, random_model: Path) -> None:
    model = make(random_model, max_tokens=2)
    for tenant in ("acme", "larkfield"):
        assert cached(await model.ainvoke(prompt("We are the same.", public=False), cache_scope=tenant)) == 0
        plain = [SystemMessage(f"{RULES} And so on."), HumanMessage("Hi")]
        assert cached(await model.ainvoke(plain, cache_scope=f"{tenant}-2")) == 0
    assert not stored(model)


@pytest.mark.parametrize("rooms", [None, 0])
async def test_not_a_token_of_a_tenant_is_stored_for_all(make: Make, random_model: Path, rooms: int | None) -> None:
    model = make(random_model, max_tokens=2, rooms=rooms)
    await model.ainvoke(prompt("We are Acme, and the code word is pineapple."), cache_scope="acme")
    (kept,) = stored(model)
    assert kept.tokens == beginning(model)
    sizes: list[int] = []

    def load_it(runtime: Runtime) -> None:
        """What was copied has as many tokens as are told of it, not only a label that says so."""
        runtime.context.load(number := runtime.context.sizes.sequences - 1, kept.data)
        sizes.append(runtime.context.size_of(number))
        runtime.context.trim(number, len(kept.tokens))
        sizes.append(runtime.context.size_of(number))
        runtime.context.drop(number)

    model._engine._begin().call(load_it)
    assert sizes[0] == sizes[1] == len(kept.data)


async def test_whoever_knows_what_another_tenant_wrote_behind_it_gains_nothing(make: Make, random_model: Path) -> None:
    model = make(random_model, max_tokens=2)
    secret = "The code word is pineapple."
    await model.ainvoke(prompt(secret), cache_scope="acme")
    right = await model.ainvoke(prompt(secret), cache_scope="larkfield")
    wrong = await model.ainvoke(prompt("Nothing like it at all, as far as we know."), cache_scope="brightwater")
    assert cached(right) == cached(wrong) == len(beginning(model))


async def test_a_tenants_own_text_of_the_same_words_is_not_public(make: Make, random_model: Path) -> None:
    model = make(random_model, max_tokens=2)
    await model.ainvoke(prompt("We are Acme."), cache_scope="acme")
    same = [Message("system", (Part(RULES, Origin.TENANT),)), Message("user", (Part("Hi", Origin.USER),))]
    assert cached(await model.ainvoke(to_messages(same), cache_scope="larkfield")) == 0


async def test_what_begins_like_a_longer_public_text_profits_from_it(make: Make, random_model: Path) -> None:
    model = make(random_model, max_tokens=2)
    rules = (Part(RULES, Origin.OPERATOR, public=True), Part("\n" + RULES, Origin.OPERATOR, public=True))
    own = Part("\nOurs.", Origin.TENANT)
    for tenant, parts, expected in [("a", rules, 0), ("b", rules[:1], 1), ("c", rules, 2), ("d", rules[:1], 1)]:
        told = [Message("system", (*parts, own)), Message("user", (Part("Hi", Origin.USER),))]
        texts = ["", RULES, f"{RULES}\n{RULES}"]
        wanted = len(beginning(model, texts[expected])) if expected else 0
        assert cached(await model.ainvoke(to_messages(told), cache_scope=tenant)) == wanted
    assert len(stored(model)) == 1


async def test_a_template_that_begins_with_whether_to_think_shares_both_ways(
    make: Make, random_model: Path, tmp_path: Path
) -> None:
    template = tmp_path / "told.jinja"
    each = "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% endfor %}{{ '<|assistant|>\n' }}"
    template.write_text(f"Thinking {{{{ 'on' if enable_thinking else 'off' }}}}. {each}")
    model = make(random_model, max_tokens=2, template=str(template), thinking=True)
    for grammar in ("", 'root ::= "a"'):  # a reply that must fit one is not thought about
        more = {"grammar": grammar} if grammar else {}
        first = await model.ainvoke(prompt("We are Acme."), cache_scope="acme", **more)
        other = await model.ainvoke(prompt("We are Larkfield."), cache_scope="larkfield", **more)
        assert cached(first) < len(RULES) // 2 < cached(other)


async def test_without_ordinary_memory_for_it_nothing_is_stored(make: Make, random_model: Path) -> None:
    model = make(random_model, max_tokens=2, spill=0)
    for tenant in ("acme", "larkfield"):
        assert cached(await model.ainvoke(prompt("We are the same."), cache_scope=tenant)) == 0


async def test_a_template_that_tells_the_time_shares_nothing_old(
    make: Make, random_model: Path, tmp_path: Path
) -> None:
    """A beginning that is not that of the prompt is of no use, and is made anew."""
    model = make(random_model, max_tokens=2)
    await model.ainvoke(prompt("We are Acme."), cache_scope="acme")
    told: list[int] = []

    def look(runtime: Runtime) -> None:
        tokens = runtime.voice._beginning("system", RULES)
        request = Request((Line("system", RULES),), public=RULES)
        told.append(runtime.voice._shared(request, [*tokens, 1, 2]))
        told.append(runtime.voice._shared(request, [tokens[0] + 1, *tokens[1:], 1]))
        told.append(runtime.voice._shared(request, tokens[:-1]))

    model._engine._begin().call(look)
    assert told == [len(beginning(model)), 0, 0]


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(public=strategies.text(min_size=1), own=strategies.text(), other=strategies.text())
def test_the_shared_tokens_are_the_same_whatever_follows(runtime: Runtime, public: str, own: str, other: str) -> None:
    """Two tenants with the same public text share all of what is made of it alone, or nothing."""
    alone = runtime.voice._beginning("system", public)
    for text in (own, other):
        lines = (Line("system", public + text), Line("user", "Hi"))
        plan = runtime.voice.plan(Request(lines, public=public))
        assert list(plan.prompt[: plan.public]) in ([], alone)
    parts = (Part(public, Origin.OPERATOR, public=True), Part(own, Origin.TENANT), Part(other, Origin.OPERATOR))
    (message,) = to_messages([Message("system", parts)])
    assert public_text([message]) == public
