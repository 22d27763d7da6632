"""Messages of channels become turns: once each, in order, bounded, and their replies are sent or reported."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sartor
from sartor.channels import Answer, Channel, Message, Request, json_answer
from sartor.delivery import Patience
from sartor.errors import DeliveryError, PluginError
from sartor.intake import Bounds, Intake
from sartor.values import Outcome

WIRE = '''
"""A channel that takes lists of messages in JSON, and remembers what it sent."""
import json
from dataclasses import replace

from sartor.channels import Answer, Channel, Message, Received
from sartor.errors import DeliveryError
from sartor.plugin import Plugin, PluginSettings, hookimpl


class WireSettings(PluginSettings):
    patience: float | None = None


class Wire(Channel):
    def __init__(self, patience):
        self.patience = patience
        self.sent = []
        self.failures = []
        self.events = []

    async def start(self):
        self.events.append("start")

    async def close(self):
        self.events.append("close")

    async def receive(self, request):
        if request.headers.get("x-key") != "secret":
            return Received(Answer(401))
        if request.body == b"break":
            raise RuntimeError("told: secret words")
        messages = tuple(Message(**given) for given in json.loads(request.body))
        return Received(None if "x-wait" in request.headers else Answer(202), messages)

    async def working(self, message):
        self.events.append(f"working {message.event}")
        if message.event == "unlucky":
            raise RuntimeError(message.text)
        return replace(message, to={"posted": message.event})

    def write(self, message, reply):
        if message.event == "unwritable":
            raise ValueError(reply.text)
        parts = reply.text.split(" / ")
        return [{"text": part, "to": dict(message.to), "outcome": str(reply.outcome)} for part in parts]

    async def send(self, message, part):
        if self.failures and (failure := self.failures.pop(0)):
            raise failure
        self.sent.append((message.event, part["text"]))
        self.events.append(part)


class WirePlugin(Plugin):
    Settings = WireSettings

    @hookimpl
    def sartor_channels(self, bot):
        return [Wire(self.settings.patience)]
'''

GATE = '''
"""A policy that lets messages with the word "wait" pass when `gate` is open."""
import asyncio

from sartor import ALLOW, Plugin, Policy, hookimpl


class Gate(Policy):
    def __init__(self):
        self.gate = asyncio.Event()
        self.seen = []

    async def input(self, turn, text):
        self.seen.append(text)
        if "wait" in text:
            await self.gate.wait()
        return ALLOW


class GatePlugin(Plugin):
    @hookimpl
    def sartor_policies(self, bot):
        return [Gate()]
'''

BOT = (
    "languages: [en, fr]\nretrieval: {passages: 0}\nlimits: {question_characters: 40}\nplugins: {wire: {}, gate: {}}\n"
)
FILES = {
    "plugins/wire.py": WIRE,
    "plugins/gate.py": GATE,
    "tenants/acme/support/bot.yaml": BOT,
    "tenants/other/support/bot.yaml": BOT,
}


def message(text: str, event: str, user: str = "u1", conversation: str = "c1", **more: object) -> dict[str, object]:
    return {"text": text, "event": event, "user": user, "conversation": conversation, **more}


def request(*messages: dict[str, object], **headers: str) -> Request:
    return Request(headers={"x-key": "secret", **headers}, body=json.dumps(messages).encode())


class Slept(list):
    """Remembers for how long it was to sleep, and does not."""

    async def __call__(self, seconds: float) -> None:
        self.append(seconds)
        await asyncio.sleep(0)


@asynccontextmanager
async def opened(root: Path, **options: object) -> AsyncIterator[tuple[sartor.Bots, Intake]]:
    async with sartor.open(root) as bots:
        intake = Intake(bots, sleep=Slept(), **options)
        try:
            yield bots, intake
        finally:
            await intake.close(5)


def wire(bots: sartor.Bots, bot: str = "acme/support") -> Channel:
    return bots[bot].channels[0]


async def until(true: object) -> None:
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_a_message_becomes_a_turn_and_the_reply_is_sent(make_project):
    async with opened(make_project(FILES, script=["Hello."])) as (bots, intake):
        answer = await intake.receive("wire", "acme/support", request(message("Hi", "e1")))
        assert answer == Answer(202)
        await until(lambda: wire(bots).sent)
        assert wire(bots).sent == [("e1", "Hello.")]
        [turn] = await bots.store.tenant("acme").turns("c1", 10)
        assert (turn.reply.turn.user, turn.reply.turn.text, turn.reply.text) == ("u1", "Hi", "Hello.")


async def test_a_channel_is_started_once_and_closed_with_its_bot(make_project):
    async with opened(make_project(FILES, script=["One.", "Two."])) as (bots, intake):
        channel = wire(bots)
        both = [message("a", "e1", conversation="c1"), message("b", "e2", conversation="c2")]
        await asyncio.gather(*(intake.receive("wire", "acme/support", request(one)) for one in both))
        await until(lambda: len(channel.sent) == 2)
    assert [event for event in channel.events if event in ("start", "close")] == ["start", "close"]


async def test_a_start_that_fails_is_tried_again_with_the_next_request(make_project, caplog):
    async with opened(make_project(FILES, script=["Hello."])) as (bots, intake):
        channel, starts = wire(bots), []

        async def start() -> None:
            starts.append(1)
            if len(starts) == 1:
                raise OSError("no network")

        channel.start = start
        assert (await intake.receive("wire", "acme/support", request(message("Hi", "e1")))).status == 503
        assert (await intake.receive("wire", "acme/support", request(message("Hi", "e1")))).status == 202
        await until(lambda: channel.sent)
    assert len(starts) == 2 and "OSError" in caplog.text


@pytest.mark.parametrize(
    ("name", "bot"),
    [
        ("wire", "acme/sales"),
        ("wire", "nobody/support"),
        ("slack", "acme/support"),
        ("", "acme/support"),
        ("gate", "acme/support"),
        ("wire", "acme"),
        ("wire", "../x/y"),
        ("wire", "acme/support/more"),
        ("wire", "other/broken"),
    ],
)
async def test_what_is_not_there_is_not_found_whatever_it_is(make_project, name, bot):
    files = {**FILES, "tenants/other/broken/bot.yaml": "nonsense: true\n"}
    async with opened(make_project(files)) as (_, intake):
        assert await intake.receive(name, bot, request(message("Hi", "e1"))) == Answer(404)


async def test_a_request_that_the_channel_refuses_is_no_message(make_project):
    async with opened(make_project(FILES)) as (bots, intake):
        refused = Request(body=request(message("Hi", "e1")).body)
        assert (await intake.receive("wire", "acme/support", refused)).status == 401
        assert await bots.store.tenants() == []


async def test_a_channel_that_breaks_asks_for_another_try_and_its_words_are_not_logged(make_project, caplog):
    async with opened(make_project(FILES)) as (_, intake):
        answer = await intake.receive("wire", "acme/support", Request(headers={"x-key": "secret"}, body=b"break"))
    assert answer.status == 503 and int(answer.headers["retry-after"]) > 0
    assert "RuntimeError (wire.py:" in caplog.text and "secret words" not in caplog.text


async def test_the_same_event_is_one_turn_also_after_a_restart(make_project):
    root = make_project(FILES, script=["Hello."])
    same = request(message("Hi", "e1"))
    async with opened(root) as (bots, intake):
        answers = await asyncio.gather(*(intake.receive("wire", "acme/support", same) for _ in range(5)))
        assert {answer.status for answer in answers} == {202}
        await until(lambda: wire(bots).sent)
    async with opened(root) as (bots, intake):
        assert (await intake.receive("wire", "acme/support", same)).status == 202
        await asyncio.sleep(0.05)
        assert wire(bots).sent == []
        assert len(await bots.store.tenant("acme").turns("c1", 10)) == 1


async def test_two_processes_take_an_event_once(make_project):
    root = make_project(FILES, script=["Hello."])
    same = request(message("Hi", "e1"))
    async with opened(root) as (bots, intake), opened(root) as (others, other):
        await asyncio.gather(intake.receive("wire", "acme/support", same), other.receive("wire", "acme/support", same))
        await until(lambda: wire(bots).sent or wire(others).sent)
        await asyncio.sleep(0.05)
        assert len(wire(bots).sent) + len(wire(others).sent) == 1


async def test_an_event_that_a_dead_process_took_is_taken_again(make_project, monkeypatch):
    async with opened(make_project(FILES, script=["Hello."])) as (bots, intake):
        store = bots.store.tenant("acme")
        with monkeypatch.context() as patched:
            patched.setattr("sartor.store.tenant.datetime", _Then)
            await store.claim("channel wire", "support e1", "channel", "lost")
        await intake.receive("wire", "acme/support", request(message("Hi", "e1")))
        await until(lambda: wire(bots).sent)


class _Then(datetime):
    @classmethod
    def now(cls, tz=None):
        return datetime.now(UTC) - timedelta(hours=2)


async def test_tenants_have_events_and_conversations_of_their_own(make_project):
    async with opened(make_project(FILES, script=["One.", "Two."])) as (bots, intake):
        same = request(message("Hi", "e1"))
        for bot in ("acme/support", "other/support"):
            assert (await intake.receive("wire", bot, same)).status == 202
            await until(lambda bot=bot: wire(bots, bot).sent)
        assert [len(await bots.store.tenant(name).turns("c1", 10)) for name in ("acme", "other")] == [1, 1]
        assert wire(bots, "acme/support").sent == [("e1", "One.")]
        assert wire(bots, "other/support").sent == [("e1", "Two.")]


async def test_messages_of_one_conversation_are_answered_in_order_and_others_meanwhile(make_project):
    async with opened(make_project(FILES, script=["Meanwhile.", "First.", "Second."])) as (bots, intake):
        gate = bots["acme/support"].policies[0]
        messages = [message("wait 1", "e1"), message("then 2", "e2"), message("else", "e3", "u2", "c2")]
        await intake.receive("wire", "acme/support", request(*messages))
        await until(lambda: wire(bots).sent == [("e3", "Meanwhile.")])
        assert "then 2" not in gate.seen
        gate.gate.set()
        await until(lambda: len(wire(bots).sent) == 3)
        assert wire(bots).sent[1:] == [("e1", "First."), ("e2", "Second.")]


async def test_a_user_s_conversation_is_not_continued_by_another_user(make_project, caplog):
    async with opened(make_project(FILES, script=["One."])) as (bots, intake):
        await intake.receive("wire", "acme/support", request(message("Hi", "e1", "u1")))
        await until(lambda: wire(bots).sent)
        await intake.receive("wire", "acme/support", request(message("What did I say?", "e2", "u2")))
        await until(lambda: len(wire(bots).sent) == 2)
        assert wire(bots).events[-1]["outcome"] == Outcome.FAILED
        assert len(await bots.store.tenant("acme").turns("c1", 10)) == 1
    assert "event e2 of channel wire to acme/support came to no turn" in caplog.text


async def test_a_message_for_a_known_conversation_only_is_passed_over_in_a_new_one(make_project):
    async with opened(make_project(FILES, script=["One.", "Two."])) as (bots, intake):
        await intake.receive("wire", "acme/support", request(message("aside", "e0", only_known=True)))
        gate = bots["acme/support"].policies[0]
        gate.gate.set()
        await intake.receive("wire", "acme/support", request(message("wait", "e1")))
        await intake.receive("wire", "acme/support", request(message("more", "e2", only_known=True)))
        await intake.receive("wire", "acme/support", request(message("aside", "e3", "u2", only_known=True)))
        await until(lambda: len(wire(bots).sent) == 2)
        await intake.receive("wire", "acme/support", request(message("aside", "e4", "u2", only_known=True)))
        await asyncio.sleep(0.05)
        assert wire(bots).sent == [("e1", "One."), ("e2", "Two.")] and gate.seen == ["wait", "more"]


@pytest.mark.parametrize("bounds", [Bounds(waiting=2), Bounds(bot_waiting=2)])
async def test_when_too_much_waits_the_platform_is_asked_to_try_again(make_project, bounds):
    script = ["One.", "Two.", "Three."]
    async with opened(make_project(FILES, script=script), bounds=bounds) as (bots, intake):
        gate = bots["acme/support"].policies[0]
        await intake.receive("wire", "acme/support", request(message("wait", "e1"), message("two", "e2")))
        third = request(message("three", "e3"))
        answer = await intake.receive("wire", "acme/support", third)
        assert answer.status == 503 and int(answer.headers["retry-after"]) > 0
        gate.gate.set()
        await until(lambda: len(wire(bots).sent) == 2)
        assert (await intake.receive("wire", "acme/support", third)).status == 202
        await until(lambda: len(wire(bots).sent) == 3)


async def test_a_bot_that_is_full_does_not_keep_others_from_their_messages(make_project):
    async with opened(make_project(FILES, script=["Fine.", "x"]), bounds=Bounds(bot_waiting=1)) as (bots, intake):
        await intake.receive("wire", "acme/support", request(message("wait", "e1")))
        assert (await intake.receive("wire", "acme/support", request(message("b", "e2")))).status == 503
        assert (await intake.receive("wire", "other/support", request(message("b", "e2")))).status == 202
        await until(lambda: wire(bots, "other/support").sent)
        bots["acme/support"].policies[0].gate.set()


async def test_of_several_messages_in_a_request_none_is_taken_without_room_for_all(make_project):
    async with opened(make_project(FILES), bounds=Bounds(waiting=1)) as (bots, intake):
        two = request(message("a", "e1"), message("b", "e2"))
        assert (await intake.receive("wire", "acme/support", two)).status == 503
        assert bots["acme/support"].policies[0].seen == []


async def test_so_many_turns_of_a_bot_run_at_once_and_no_more(make_project):
    async with opened(make_project(FILES, script=["x"] * 3), bounds=Bounds(bot_turns=2)) as (bots, intake):
        gate = bots["acme/support"].policies[0]
        messages = [message(f"wait {n}", f"e{n}", conversation=f"c{n}") for n in range(3)]
        await intake.receive("wire", "acme/support", request(*messages))
        await until(lambda: len(gate.seen) == 2)
        await asyncio.sleep(0.02)
        assert len(gate.seen) == 2
        gate.gate.set()
        await until(lambda: len(wire(bots).sent) == 3)


async def test_a_part_that_could_not_be_sent_is_sent_again_by_itself(make_project):
    async with opened(make_project(FILES, script=["One. / Two. / Three."])) as (bots, intake):
        wire(bots).failures = [None, DeliveryError("busy", retry_after=7), OSError("reset"), None]
        await intake.receive("wire", "acme/support", request(message("Hi", "e1")))
        await until(lambda: len(wire(bots).sent) == 3)
        assert [text for _, text in wire(bots).sent] == ["One.", "Two.", "Three."]
        first, second = intake._sleep
        assert first == 7 and 0.7 < second < 1.3


@pytest.mark.parametrize(
    ("failures", "told"),
    [
        ([DeliveryError("not in the channel", again=False)], "part 1 of 1: not in the channel"),
        ([DeliveryError("busy", retry_after=9999)] * 3, "part 1 of 1: busy (tried 3 times)"),
        ([RuntimeError("the reply was: Sesame.")] * 3, "part 1 of 1: RuntimeError (wire.py:"),
    ],
)
async def test_a_reply_that_cannot_be_sent_is_reported_with_its_turn_and_without_its_text(
    make_project, caplog, failures, told
):
    async with opened(make_project(FILES, script=["Sesame."]), patience=Patience(tries=3)) as (bots, intake):
        wire(bots).failures = list(failures)
        await intake.receive("wire", "acme/support", request(message("Hi", "e1")))
        await until(lambda: "was not sent" in caplog.text)
        [turn] = await bots.store.tenant("acme").turns("c1", 10)
        assert f"the reply of turn {turn.reply.turn.id} of acme/support to event e1 of channel wire" in caplog.text
        assert told in caplog.text and "Sesame" not in caplog.text
        assert all(seconds <= 120 for seconds in intake._sleep)


async def test_a_reply_that_cannot_be_written_is_reported(make_project, caplog):
    async with opened(make_project(FILES, script=["Sesame."])) as (_, intake):
        await intake.receive("wire", "acme/support", request(message("Hi", "unwritable")))
        await until(lambda: "was not sent: ValueError (wire.py:" in caplog.text)
    assert "Sesame" not in caplog.text


async def test_after_a_while_the_user_is_told_that_the_bot_works(make_project):
    files = {**FILES, "tenants/acme/support/bot.yaml": BOT.replace("wire: {}", "wire: {patience: 0.01}")}
    async with opened(make_project(files, script=["One.", "Two."])) as (bots, intake):
        channel, gate = wire(bots), bots["acme/support"].policies[0]
        await intake.receive("wire", "acme/support", request(message("wait", "e1")))
        await until(lambda: "working e1" in channel.events)
        gate.gate.set()
        await until(lambda: channel.sent)
        assert channel.events[-1]["to"] == {"posted": "e1"}
        gate.gate.clear()
        await intake.receive("wire", "acme/support", request(message("wait", "unlucky")))
        await until(lambda: "working unlucky" in channel.events)
        gate.gate.set()
        await until(lambda: len(channel.sent) == 2)
        assert channel.events[-1]["to"] == {}


@pytest.mark.parametrize(
    ("language", "said"), [("en", "Your message is too long"), ("fr", "trop long"), ("xx", "Your message is too long")]
)
async def test_a_message_that_is_too_long_is_answered_so(make_project, language, said):
    async with opened(make_project(FILES)) as (bots, intake):
        await intake.receive("wire", "acme/support", request(message("x" * 41, "e1", language=language)))
        await until(lambda: wire(bots).sent)
        assert said in wire(bots).sent[0][1]


async def test_a_bot_that_is_busy_is_asked_again(make_project):
    busy = """
        from sartor import Plugin, Policy, hookimpl, ALLOW
        from sartor.errors import OverloadedError

        class Busy(Policy):
            times = 0

            async def input(self, turn, text):
                return ALLOW

        class BusyPlugin(Plugin):
            @hookimpl
            def sartor_model(self):
                from sartor.testing import ScriptedModel
                return ScriptedModel(script=[OverloadedError("full", retry_after=3)] * 2 + ["Now."])
        """
    files = {
        **FILES,
        "plugins/busy.py": busy,
        "sartor.yaml": "model: b\nmodels: {b: {plugin: busy}}\nembeddings: null\nindex: {plugin: memory-index}\n",
    }
    async with opened(make_project(files)) as (bots, intake):
        await intake.receive("wire", "acme/support", request(message("Hi", "e1")))
        await until(lambda: wire(bots).sent)
        assert wire(bots).sent == [("e1", "Now.")] and list(intake._sleep) == [3, 3]


async def test_stopping_lets_messages_be_answered_first(make_project):
    async with opened(make_project(FILES, script=["One.", "Two."])) as (bots, intake):
        gate = bots["acme/support"].policies[0]
        await intake.receive("wire", "acme/support", request(message("wait", "e1"), message("two", "e2")))
        await until(lambda: gate.seen)
        closing = asyncio.create_task(intake.close(5))
        await asyncio.sleep(0.01)
        assert (await intake.receive("wire", "acme/support", request(message("late", "e3")))).status == 503
        gate.gate.set()
        await closing
        assert wire(bots).sent == [("e1", "One."), ("e2", "Two.")]


async def test_what_stopping_cuts_off_is_reported_and_can_be_taken_again(make_project, caplog):
    root = make_project(FILES, script=["One.", "Two."])
    both = request(message("wait", "e1"), message("two", "e2"))
    async with opened(root) as (bots, intake):
        await intake.receive("wire", "acme/support", both)
        await until(lambda: bots["acme/support"].policies[0].seen)
        await intake.close(0.01)
        assert wire(bots).sent == []
    for event in ("e1", "e2"):
        assert f"event {event} of channel wire to acme/support was not answered" in caplog.text
    async with opened(root) as (bots, intake):
        bots["acme/support"].policies[0].gate.set()
        await intake.receive("wire", "acme/support", both)
        await until(lambda: len(wire(bots).sent) == 2)


async def test_a_reply_whose_sending_is_cut_off_is_reported_and_not_made_again(make_project, caplog):
    root = make_project(FILES, script=["One."])
    async with opened(root) as (bots, intake):
        sending = asyncio.Event()

        async def hang(*_: object) -> None:
            sending.set()
            await asyncio.Event().wait()

        wire(bots).send = hang
        await intake.receive("wire", "acme/support", request(message("Hi", "e1")))
        await sending.wait()
        await intake.close(0)
    assert "which was not sent: it was stopped before" in caplog.text
    async with opened(root) as (bots, intake):
        await intake.receive("wire", "acme/support", request(message("Hi", "e1")))
        await asyncio.sleep(0.05)
        assert len(await bots.store.tenant("acme").turns("c1", 10)) == 1


async def test_a_request_may_wait_for_the_reply_and_its_retry_is_given_the_same(make_project):
    async with opened(make_project(FILES, script=["One."])) as (bots, intake):
        asked = request(message("Hi", "e1"), **{"x-wait": "1"})
        first = await intake.receive("wire", "acme/support", asked)
        again = await intake.receive("wire", "acme/support", asked)
        assert json.loads(first.body)["text"] == "One." and first == again
        assert wire(bots).sent == []


async def test_a_retry_while_the_first_request_waits_is_a_conflict(make_project):
    async with opened(make_project(FILES, script=["One."])) as (bots, intake):
        asked = request(message("wait", "e1"), **{"x-wait": "1"})
        gate = bots["acme/support"].policies[0]
        first = asyncio.create_task(intake.receive("wire", "acme/support", asked))
        await until(lambda: gate.seen)
        assert (await intake.receive("wire", "acme/support", asked)).status == 409
        gate.gate.set()
        assert (await first).status == 200


async def test_a_request_that_waits_is_told_when_the_service_stops(make_project):
    async with opened(make_project(FILES)) as (bots, intake):
        asked = request(message("wait", "e1"), **{"x-wait": "1"})
        waiting = asyncio.create_task(intake.receive("wire", "acme/support", asked))
        await until(lambda: bots["acme/support"].policies[0].seen)
        await intake.close(0)
        assert (await waiting).status == 503


async def test_a_request_that_waits_and_goes_away_finds_the_reply_when_it_comes_again(make_project):
    async with opened(make_project(FILES, script=["One."])) as (bots, intake):
        gate = bots["acme/support"].policies[0]
        asked = request(message("wait", "e1"), **{"x-wait": "1"})
        waiting = asyncio.create_task(intake.receive("wire", "acme/support", asked))
        await until(lambda: gate.seen)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        gate.gate.set()
        store = bots.store.tenant("acme")
        while not await store.turns("c1", 1):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert json.loads((await intake.receive("wire", "acme/support", asked)).body)["text"] == "One."


async def test_a_message_is_taken_also_when_its_request_goes_away_meanwhile(make_project, monkeypatch):
    async with opened(make_project(FILES, script=["One."])) as (bots, intake):
        claimed = asyncio.Event()
        claim = type(bots.store.tenant("acme")).claim

        async def slowly(*given: object) -> object:
            row = await claim(*given)
            claimed.set()
            await asyncio.sleep(0.02)
            return row

        monkeypatch.setattr("sartor.store.tenant.TenantStore.claim", slowly)
        asked = asyncio.create_task(intake.receive("wire", "acme/support", request(message("Hi", "e1"))))
        await claimed.wait()
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
        await until(lambda: wire(bots).sent == [("e1", "One.")])


async def test_messages_of_a_tenant_that_is_erased_are_reported(make_project, caplog):
    async with opened(make_project(FILES)) as (bots, intake):
        gate = bots["acme/support"].policies[0]
        await intake.receive("wire", "acme/support", request(message("wait", "e1"), message("two", "e2")))
        await until(lambda: gate.seen)
        await bots.erase("acme")
        await until(lambda: "event e2 of channel wire to acme/support was not answered" in caplog.text)
        await intake.close(5)
        assert len(intake._lanes) == 0


async def test_logs_never_hold_what_users_or_bots_say(make_project, caplog):
    caplog.set_level(logging.DEBUG, "sartor")
    async with opened(make_project(FILES, script=["Sesame.", "FAIL"])) as (bots, intake):
        await intake.receive("wire", "acme/support", request(message("Abracadabra", "e1")))
        await intake.receive("wire", "acme/support", request(message("Abracadabra", "e1")))
        await intake.receive("wire", "acme/support", request(message("Abracadabra" * 5, "e2")))
        await until(lambda: len(wire(bots).sent) == 2)
    told = "".join(record.getMessage() for record in caplog.records if record.name.startswith("sartor.channels"))
    assert "e1" in told and "Abracadabra" not in told and "Sesame" not in told


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("return [object()]", "sartor_channels gave a object, not a Channel"),
        ("return [Wire(), Wire()]", "there is a channel 'bad' already"),
    ],
)
def test_a_plugin_that_gives_no_proper_channels_is_named(make_project, body, told):
    bad = f"""
        from sartor import Plugin, hookimpl
        from sartor.channels import Answer, Channel, Received

        class Wire(Channel):
            async def receive(self, request):
                return Received(Answer(401))

            def write(self, message, reply):
                return []

            async def send(self, message, part):
                pass

        class Bad(Plugin):
            @hookimpl
            def sartor_channels(self, bot):
                {body}
        """
    root = make_project({"plugins/bad.py": bad, "tenants/acme/support/bot.yaml": "plugins: {bad: {}}\n"})
    with sartor.open_sync(root) as bots, pytest.raises(PluginError, match="plugin 'bad'") as caught:
        bots["acme/support"]
    assert told in str(caught.value)


def test_json_answers_are_utf_8():
    assert json_answer(200, {"a": "é\ud800"}, {"x": "y"}) == Answer(
        200, '{"a":"é\\ud800"}'.encode(), {"content-type": "application/json", "x": "y"}
    )


def test_a_message_says_where_the_reply_goes_to_its_channel_alone():
    assert Message("Hi", "u1", "e1").to == {}
