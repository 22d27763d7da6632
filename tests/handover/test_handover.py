"""Hand-over to a person: who calls one, who is silent, and how the conversation comes back."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import sartor
from sartor.bots import Bots
from sartor.channels import Said
from sartor.errors import DeliveryError, NamingError, SpecError, UsageError
from sartor.handover.desk import Desk
from sartor.handover.word import Word
from sartor.values import Exchange, HandOver, Outcome, TurnOptions

CHANNEL = '''
"""People by a list, and tools."""
from sartor import Plugin, hookimpl, tool
from sartor.channels import Channel, Received
from sartor.errors import DeliveryError

TOLD: list = []
IDS: list = []
FAULTS: list = []

class People(Channel):
    alerts = True
    async def receive(self, request): return Received()
    def write(self, message, reply): return []
    async def send(self, message, part): pass
    async def alert(self, notice):
        if FAULTS:
            raise FAULTS.pop()
        TOLD.append((notice.kind, notice.handover.conversation, notice.text))
        IDS.append((notice.kind, notice.handover.id))

class Deaf(Channel):
    name = "deaf"
    async def receive(self, request): return Received()
    def write(self, message, reply): return []
    async def send(self, message, part): pass

class PeoplePlugin(Plugin):
    @hookimpl
    def sartor_channels(self):
        return [People(), Deaf()]
'''
BOT = """
grounding: free
languages: [en, fr]
plugins: {people: {}}
hand_over: {channel: people, when: {unknown: 2, failed: 2}}
"""
UNKNOWN = "I could not find that in our documents."
CALLED = "I am passing you on to a colleague, who will answer here."


@pytest.fixture(params=["sqlite", "postgresql"])
def state(request: pytest.FixtureRequest) -> str:
    """Where the state is kept; empty: where it is by default."""
    return "" if request.param == "sqlite" else request.getfixturevalue("postgres_url")


@pytest.fixture
def opened(make_project: Callable[..., Path]):
    """`async with opened(script=[…], bot="…") as (bots, people)`: `people` is the module of the plugin."""

    @asynccontextmanager
    async def begin(
        script: object = (), bot: str = BOT, state: str = "", **files: str
    ) -> AsyncIterator[tuple[Bots, object]]:
        content = {
            "tenants/acme/desk/bot.yaml": bot,
            "tenants/globex/desk/bot.yaml": bot,
            "plugins/people.py": CHANNEL,
            **files,
        }
        root = make_project(content, script=script)
        if state:
            with (root / "sartor.yaml").open("a", encoding="utf-8") as project:
                project.write(f"state: {state}\n")
        async with sartor.open(root) as bots:
            yield bots, sys.modules[type(bots["acme/desk"].plugins[0]).__module__]

    return begin


async def say(bots: Bots, text: str, *, bot: str = "acme/desk", **who: object):
    return await bots[bot].reply(text, **({"user": "ann", "conversation": "c1"} | who))


async def settled() -> None:
    """Let what runs in the background run."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    "text",
    ["I want to talk to a human!", "Can I speak to a real person please?", "Je voudrais parler à un conseiller"],
)
async def test_a_user_who_asks_gets_a_person(opened, text):
    async with opened() as (bots, people):
        reply = await say(bots, text)
        assert (reply.outcome, reply.text, reply.usage.calls) == (Outcome.HANDED_OVER, CALLED, 0)
        await settled()
        assert people.TOLD == [("started", "c1", "")]
        [there] = await Desk(bots, "acme").open()
        assert (there.user, there.conversation, there.reason) == ("ann", "c1", "the user asked for a person")
        assert there.summary == f"User: {text}"


async def test_a_long_message_about_people_is_none(opened):
    text = "Somebody told me that I would have to talk to a human being in the shop about my boots and their laces"
    async with opened(["Our shop is open."]) as (bots, _):
        assert (await say(bots, text)).outcome is Outcome.ANSWERED


async def test_the_bot_is_silent_until_it_is_released(opened):
    async with opened(["Hello!", "Blue or red."]) as (bots, people):
        await say(bots, "Hi")
        await say(bots, "I want to talk to a human")
        reply = await say(bots, "Are you there?")
        assert (reply.outcome, reply.text) == (
            Outcome.SILENT, "Your message has been passed on. A colleague will answer here.")  # fmt: skip
        reply = await say(bots, "Hello?")
        assert (reply.outcome, reply.text, reply.usage.calls) == (Outcome.SILENT, "", 0)
        desk = Desk(bots, "acme")
        [there] = await desk.open()
        assert there.summary == "User: Hi\nBot: Hello!\nUser: I want to talk to a human"
        await desk.say(there.id, "This is Ana. What is it about?", by="Ana")
        assert (await say(bots, "My boots")).text == ""
        await desk.say(there.id, "I will send new ones.", by="Ana")
        released = await desk.release(there.id, by="Ana")
        assert (released.taken_by, await desk.open()) == ("Ana", [])
        reply = await say(bots, "Which colours are there?")
        assert (reply.outcome, reply.text) == (Outcome.ANSWERED, "Blue or red.")
        await settled()
        assert people.TOLD == [
            ("started", "c1", ""),
            ("message", "c1", "Are you there?"),
            ("message", "c1", "Hello?"),
            ("said", "c1", "This is Ana. What is it about?"),
            ("message", "c1", "My boots"),
            ("said", "c1", "I will send new ones."),
            ("released", "c1", ""),
        ]
        told = [stored.reply for stored in await desk.turns(there.id)]
        assert [(one.author, one.text) for one in told if not one.turn.text] == [
            ("Ana", "This is Ana. What is it about?"),
            ("Ana", "I will send new ones."),
            ("", "I am the assistant again. How else can I help?"),
        ]
        heard = [message.content for message in bots.model().prompts[-1]]
        assert heard[-5:] == [
            "Hello?",
            "This is Ana. What is it about?",
            "My boots",
            "I will send new ones.",
            "Which colours are there?",
        ]


async def test_after_two_unknown_answers_a_person_is_called(opened):
    async with opened([UNKNOWN, "Yes.", UNKNOWN, UNKNOWN]) as (bots, _):
        for text in ("One?", "Two?", "Three?"):
            assert (await say(bots, text)).outcome is not Outcome.HANDED_OVER
        reply = await say(bots, "Four?")
        assert (reply.outcome, reply.text) == (Outcome.HANDED_OVER, f"{UNKNOWN}\n\n{CALLED}")
        [there] = await Desk(bots, "acme").open()
        assert there.reason == "2 turns in a row: unknown"
        assert "User: Three?\nBot: (not in the documents)\nUser: Four?" in there.summary


async def test_after_two_failures_a_person_is_called(opened):
    async with opened(["FAIL", "FAIL"]) as (bots, _):
        assert (await say(bots, "One?")).outcome is Outcome.FAILED
        reply = await say(bots, "Two?")
        assert (reply.outcome, reply.text.endswith(CALLED), "broke" in reply.error) == (
            Outcome.HANDED_OVER, True, True)  # fmt: skip


async def test_a_flow_ends_with_a_person(opened):
    bot = (
        BOT
        + """
flows:
  lead:
    title: an offer
    start: [get an offer]
    slots:
      users: {ask: How many users?, type: integer, label: Users}
      mail: {ask: Your e-mail?, type: email}
    hand_over: true
"""
    )
    async with opened(bot=bot) as (bots, _):
        await say(bots, "I would like to get an offer")
        await say(bots, "40")
        await say(bots, "ann@example.com")
        assert await Desk(bots, "acme").open() == []
        reply = await say(bots, "yes")
        assert (reply.outcome, reply.text, reply.flow.stage) == (Outcome.HANDED_OVER, CALLED, "done")
        [there] = await Desk(bots, "acme").open()
        assert (there.reason, there.summary.splitlines()[:2]) == (
            "an offer", ["Users: 40", "Mail: ann@example.com"])  # fmt: skip


async def test_a_flow_needs_a_bot_that_hands_over(opened):
    bot = """
        flows:
          lead: {title: an offer, slots: {users: {ask: How many?}}, hand_over: true}
    """
    with pytest.raises(SpecError, match=r"bot.yaml:2.*flow lead hands over to a person, and the bot does not say how"):
        async with opened(bot=bot):
            pass


@pytest.mark.parametrize(
    ("channel", "told"), [("deaf", "'deaf' tells nobody of hand-overs"), ("fax", "'fax' is none of the bot's")]
)
async def test_a_channel_that_tells_nobody_is_refused(opened, channel, told):
    with pytest.raises(SpecError) as caught:
        async with opened(bot=BOT.replace("channel: people", f"channel: {channel}")):
            pass
    assert told in str(caught.value)
    assert "Those that do: people." in str(caught.value)


async def test_other_conversations_users_and_tenants_go_on(opened):
    async with opened(["One.", "Two.", "Three."]) as (bots, _):
        await say(bots, "I want to talk to a human")
        assert (await say(bots, "Hi", conversation="c2")).text == "One."
        assert (await say(bots, "Hi", user="bob", conversation="c3")).text == "Two."
        assert (await say(bots, "Hi", bot="globex/desk")).text == "Three."
        [there] = await Desk(bots, "acme").open()
        others = Desk(bots, "globex")
        assert await others.open() == []
        for act in (others.get(there.id), others.say(there.id, "Hi", by="Eve"), others.release(there.id, by="Eve")):
            with pytest.raises(NamingError, match="globex has no hand-over"):
                await act


async def test_what_a_program_brings_as_history_has_no_person(opened):
    async with opened(["Hello."]) as (bots, _):
        options = TurnOptions(history=(Exchange("Hi", "Hello."),))
        assert (await say(bots, "I want to talk to a human", options=options)).text == "Hello."


async def test_two_messages_at_once_call_one_person(opened):
    async with opened() as (bots, _):
        await asyncio.gather(*(say(bots, "I want to talk to a human") for _ in range(3)))
        assert len(await Desk(bots, "acme").open()) == 1


async def test_two_messages_at_once_tell_people_of_one_hand_over(opened, state):
    async with opened(state=state) as (bots, people):
        replies = await asyncio.gather(*(say(bots, "I want to talk to a human") for _ in range(3)))
        assert [reply.outcome for reply in replies] == [Outcome.HANDED_OVER] * 3
        [there] = await Desk(bots, "acme").open()
        assert {reply.handover.id for reply in replies} == {there.id}
        await settled()
        assert [("started", there.id)] == people.IDS


async def test_a_released_one_takes_no_more(opened):
    async with opened() as (bots, _):
        await say(bots, "I want to talk to a human")
        desk = Desk(bots, "acme")
        [there] = await desk.open()
        await desk.release(there.id, by="Ana")
        for act in (desk.say(there.id, "Hi", by="Ana"), desk.release(there.id, by="Ana")):
            with pytest.raises(UsageError, match="was released at"):
                await act
        await say(bots, "I want to talk to a human again")
        [second] = await desk.open()
        assert second.id != there.id


async def test_of_two_releases_at_once_one_is_done(opened, state):
    async with opened(state=state) as (bots, people):
        await say(bots, "I want to talk to a human")
        desk = Desk(bots, "acme")
        [there] = await desk.open()
        tried = [desk.release(there.id, by=name) for name in ("Ana", "Ben", "Cem")]
        ended = await asyncio.gather(*tried, return_exceptions=True)
        [released] = [one for one in ended if not isinstance(one, BaseException)]
        assert [type(one) for one in ended if one is not released] == [UsageError] * 2
        assert (await desk.get(there.id)).taken_by == released.taken_by
        back = [stored for stored in await desk.turns(there.id) if not stored.reply.turn.text]
        assert [stored.reply.text for stored in back] == ["I am the assistant again. How else can I help?"]
        await settled()
        assert [kind for kind, *_ in people.TOLD] == ["started", "released"]


async def test_what_a_person_says_while_another_releases_is_said_before_or_not_at_all(opened, state):
    async with opened(state=state) as (bots, _):
        await say(bots, "I want to talk to a human")
        desk = Desk(bots, "acme")
        [there] = await desk.open()
        said, _ = await asyncio.gather(
            desk.say(there.id, "Hi", by="Ana"), desk.release(there.id, by="Ben"), return_exceptions=True
        )
        told = [stored.reply.text for stored in await desk.turns(there.id) if not stored.reply.turn.text]
        back = "I am the assistant again. How else can I help?"
        assert told == ([back] if isinstance(said, UsageError) else ["Hi", back])


async def test_who_speaks_by_a_channel_while_another_releases_is_told_of_it(opened, monkeypatch):
    async with opened() as (bots, people):
        await say(bots, "I want to talk to a human")
        desk = Desk(bots, "acme")
        [there] = await desk.open()
        found = Desk.get

        async def get(self: Desk, handover: str) -> HandOver:
            """It is released just after it was looked at."""
            monkeypatch.setattr(Desk, "get", found)
            looked = await found(self, handover)
            await desk.release(handover, by="Ben")
            return looked

        monkeypatch.setattr(Desk, "get", get)
        await Word(bots, bots["acme/desk"], "people", Said(there.id, "Ana", "event-1", "Hi")).run()
        await settled()
        assert [kind for kind, *_ in people.TOLD] == ["started", "released", "released"]


@pytest.mark.parametrize(("text", "by"), [("", "Ana"), (" ", "Ana"), ("Hi", ""), ("x" * 20_001, "Ana")])
async def test_what_a_person_may_say(opened, text, by):
    async with opened() as (bots, _):
        await say(bots, "I want to talk to a human")
        desk = Desk(bots, "acme")
        [there] = await desk.open()
        with pytest.raises(UsageError):
            await desk.say(there.id, text, by=by)


async def test_people_who_cannot_be_told_are_logged_and_the_hand_over_stands(opened, caplog):
    async with opened() as (bots, people):
        people.FAULTS.append(DeliveryError("the desk is closed", again=False))
        assert (await say(bots, "I want to talk to a human")).outcome is Outcome.HANDED_OVER
        await settled()
        assert "people were not told by channel people of hand-over" in caplog.text
        assert "the desk is closed" in caplog.text
        assert len(await Desk(bots, "acme").open()) == 1


async def test_a_policy_judges_what_is_passed_on(opened):
    guard = """
        from sartor import Edit, Plugin, Policy, hookimpl, rewrite, ALLOW
        class Hide(Policy):
            async def input(self, turn, text):
                at = text.find("4111")
                return rewrite([Edit(at, at + 4, "[card]")]) if at >= 0 else ALLOW
        class HidePlugin(Plugin):
            @hookimpl
            def sartor_policies(self): return [Hide()]
    """
    bot = BOT.replace("{people: {}}", "{people: {}, hide: {}}")
    async with opened(bot=bot, **{"plugins/hide.py": guard}) as (bots, people):
        await say(bots, "I want to talk to a human")
        await say(bots, "my card is 4111")
        await settled()
        assert people.TOLD[-1] == ("message", "c1", "my card is [card]")


async def test_it_is_erased_with_the_tenant(opened):
    async with opened() as (bots, _):
        await say(bots, "I want to talk to a human")
        assert (await bots.erase("acme"))["handovers"] == 1
        assert await Desk(bots, "acme").open() == []


async def test_a_caller_who_leaves_while_a_person_is_called_has_the_turn_committed(opened, monkeypatch):
    async with opened(["Yes."]) as (bots, _):
        bot, begun = bots["acme/desk"], asyncio.Event()

        async def slow(self) -> None:
            begun.set()
            await asyncio.sleep(30)

        monkeypatch.setattr("sartor.handover.steps.HandOverSteps.afterwards", slow)
        task = asyncio.create_task(bot.reply("Hi", user="ann", conversation="c1"))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        [stored] = await bots.store.tenant("acme").turns("c1", 5)
        assert (stored.reply.outcome, stored.reply.text) == (Outcome.CANCELLED, "Yes.")


async def test_a_long_conversation_is_told_from_its_end(opened):
    async with opened(["Yes."] * 60) as (bots, _):
        for number in range(60):
            await say(bots, f"Question {number}")
        await say(bots, "I want to talk to a human")
        [there] = await Desk(bots, "acme").open()
        assert "User: Question 59\nBot: Yes." in there.summary
