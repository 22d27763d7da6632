"""Flows, by what the user says and the bot answers."""

from __future__ import annotations

import asyncio
import json
import sys
import textwrap
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import sartor
from langchain_core.messages import AIMessageChunk
from sartor.bot import Bot
from sartor.errors import SpecError, ToolError
from sartor.flows.doing import Doing
from sartor.judge import Judge
from sartor.testing import ScriptedModel
from sartor.values import Exchange, Origin, Outcome, TurnOptions

START = "I would like to book an appointment"
WEDNESDAY = datetime(2026, 11, 25, 12, tzinfo=UTC)
ALL = (START, "a check-up", "the 14th", "10:30", "Ana Ruiz", "no")
CONFIRM = "A check-up on Monday, December 14, 2026 at 10:30 for Ana Ruiz. Shall I book it?"


def on_a_wednesday(bots: sartor.Bots) -> Bot:
    """The bot of `bots`, whatever the day: it has no appointments at the weekend."""
    bot = bots["acme/desk"]
    object.__setattr__(bot._parts, "now", lambda: WEDNESDAY)
    return bot


def call(tool: str, **arguments: object) -> dict[str, object]:
    return {"call": tool, "arguments": arguments}


async def test_it_asks_confirms_and_does(talk):
    async with talk() as visit:
        reply = await visit.says(START)
        assert reply.text == "What is it for?\n- A check-up\n- Teeth cleaning"
        assert (reply.flow.stage, reply.flow.slot, reply.flow.options) == (
            "asking", "service", ("A check-up", "Teeth cleaning"))  # fmt: skip
        assert (await visit.says("cleaning")).text == "On which day?"
        assert (await visit.says("the 14th")).text == (
            "At what time on Monday, December 14, 2026?\n- 09:00\n- 10:30\n- 15:00"
        )
        assert (await visit.says("at half past ten")).text == "In whose name?"
        assert (await visit.says("my name is Ana Ruiz")).text == "Anything we should know? (You can skip this.)"
        assert (await visit.says("skip")).text.startswith(
            "Teeth cleaning on Monday, December 14, 2026 at 10:30 for Ana"
        )
        assert visit.done == []
        reply = await visit.says("yes, please")
        assert reply.text == "Booked: A-1."
        assert visit.done == [("cleaning", "2026-12-14", "10:30", "Ana Ruiz", "")]
        assert (reply.flow.stage, reply.outcome, reply.usage.calls) == ("done", Outcome.ANSWERED, 0)
        [use] = reply.tools
        assert use.call.origins == {name: frozenset({Origin.USER}) for name in use.call.arguments}


async def test_one_message_may_tell_it_all(talk):
    async with talk() as visit:
        reply = await visit.says("Book an appointment for teeth cleaning tomorrow at 3pm")
        assert reply.text == "In whose name?"
        assert reply.flow.values == {"service": "cleaning", "day": "2026-11-26", "time": "15:00"}


async def test_french(talk):
    async with talk() as visit:
        told = {"language": "fr"}
        await visit.says_all("Je voudrais prendre rendez-vous", "un détartrage", "après-demain à 10h30", "Ana", **told)
        reply = await visit.says("non merci", **told)
        assert reply.text == "Un détartrage, vendredi 27 novembre 2026 à 10:30, pour Ana. Je réserve ?"
        reply = await visit.says("non, plutôt lundi", **told)
        assert reply.text == "Un détartrage, lundi 30 novembre 2026 à 10:30, pour Ana. Je réserve ?"
        assert (await visit.says("oui, allez-y", **told)).text == "Réservé : A-1."


@pytest.mark.parametrize(
    ("said", "changed"),
    [
        ("no, the 15th", {"day": "2026-12-15"}),
        ("no, the 15th at 9", {"day": "2026-12-15", "time": "09:00"}),
        ("yes, but make it teeth cleaning", {"service": "cleaning"}),
        ("at 15:00 rather", {"time": "15:00"}),
        ("Could you make it the 16th instead?", {"day": "2026-12-16"}),
    ],
)
async def test_a_correction_is_repeated_before_anything_is_done(talk, said, changed):
    async with talk() as visit:
        before = (await visit.says_all(*ALL)).flow.values
        reply = await visit.says(said)
        assert reply.flow.stage == "confirming"
        assert reply.flow.values == {**before, **changed}
        assert visit.done == []


async def test_a_correction_on_the_way(talk):
    async with talk() as visit:
        await visit.says_all(START, "a check-up", "the 14th", "10:30")
        reply = await visit.says("Sorry, the 15th")
        assert (reply.text, reply.flow.values["day"], reply.flow.values["time"]) == (
            "In whose name?", "2026-12-15", "10:30")  # fmt: skip


async def test_a_choice_that_is_there_no_longer_is_asked_for_again(talk):
    async with talk() as visit:
        await visit.says_all(*ALL)
        module = sys.modules[type(visit.bot.plugins[0]).__module__]
        module.TIMES = ["09:00", "15:00"]
        reply = await visit.says("no, the 15th")
        assert reply.text == "At what time on Tuesday, December 15, 2026?\n- 09:00\n- 15:00"
        assert (await visit.says("10:30")).flow.slot == "time", "what is not offered is not taken"
        assert (await visit.says("the last one")).flow.values["time"] == "15:00"


async def test_a_bare_no_asks_what_to_change(talk):
    async with talk() as visit:
        await visit.says_all(*ALL)
        assert (await visit.says("no")).text == "What shall I change?"
        reply = await visit.says("the day")
        assert reply.text == "On which day?"
        await visit.says("the 16th")
        assert visit.last.flow.values["day"] == "2026-12-16"


async def test_no_to_what_shall_i_change_goes_back(talk):
    async with talk() as visit:
        await visit.says_all(*ALL, "no")
        assert (await visit.says("no")).text == CONFIRM


@pytest.mark.parametrize("said", ["stop", "forget it", "cancel that, please", "never mind", "laisse tomber"])
async def test_leaving_does_nothing_and_coming_back_goes_on(talk, said):
    async with talk(["Hello!"]) as visit:
        await visit.says_all(*ALL)
        reply = await visit.says(said)
        assert reply.text == "All right, I have stopped. Nothing was done."
        assert reply.flow.stage == "left"
        assert (await visit.says("Hi there")).text == "Hello!"
        reply = await visit.says("I want to make an appointment")
        assert reply.text == f"Back to: your appointment.\n\n{CONFIRM}"
        await visit.says("yes")
        assert len(visit.done) == 1


@pytest.mark.parametrize("said", ["skip", "Skip this question, please", "Passer", "je passe", "nothing", "rien"])
async def test_a_skip_where_something_is_to_be_confirmed_is_no_yes_and_no_stop(talk, said):
    async with talk(["The user wants to stop."]) as visit:
        reply = await visit.says_all(*ALL, said)
        assert (reply.text, reply.flow.stage) == (f"I did not get that.\n\n{CONFIRM}", "confirming")
        assert (reply.usage.calls, visit.done) == (0, [])
        assert (await visit.says("yes")).flow.stage == "done"


async def test_a_skip_where_something_is_to_be_confirmed_leaves_out_what_may_be_left_out(talk, bot_yaml):
    noted = bot_yaml.replace("for {name}. Shall", "for {name}, note: {note}. Shall")
    async with talk(["The user wants to stop."], bot=noted) as visit:
        reply = await visit.says_all(*ALL[:-1], "I have a dog", "skip")
        assert (reply.flow.stage, "note" in reply.flow.values, "I have a dog" in reply.text) == (
            "confirming",
            False,
            False,
        )
        assert (await visit.says("yes")).flow.stage == "done"
        assert visit.done == [("checkup", "2026-12-14", "10:30", "Ana Ruiz", "")]


async def test_a_skip_to_what_shall_i_change_goes_back(talk):
    async with talk(["The user wants to stop."]) as visit:
        reply = await visit.says_all(*ALL, "no", "skip")
        assert (reply.text, reply.flow.stage, reply.usage.calls) == (CONFIRM, "confirming", 0)


async def test_a_question_in_between_is_answered_and_the_flow_goes_on(talk):
    async with talk(["Parking is behind the house."]) as visit:
        await visit.says_all(START, "a check-up")
        reply = await visit.says("Where can I park?")
        assert reply.text == "Parking is behind the house.\n\nBack to: your appointment. On which day?"
        assert (reply.flow.stage, reply.flow.slot) == ("asking", "day")
        assert (await visit.says("the 14th")).flow.slot == "time"


async def test_another_flow_comes_in_between(talk):
    async with talk() as visit:
        await visit.says_all(START, "a check-up")
        reply = await visit.says("I want to send back BW-10011, it is broken")
        assert reply.text == "Is this right?\n- Order: BW-10011\n- Reason: It is broken"
        reply = await visit.says("yes")
        assert reply.text == "R-1\n\nBack to: your appointment. On which day?"
        assert reply.flow.name == "return_order"
        assert (await visit.says("the 14th")).flow.slot == "time"


async def test_what_the_host_says_is_not_asked_for_and_not_changed(talk, bot_yaml):
    customer = "      customer: {ask: Who are you?, attribute: customer_number}\n    do: register\n"
    bot = bot_yaml.replace("    do: register\n", customer)
    async with talk(bot=bot) as visit:
        await visit.says("I want to return an order, BW-10011, it is broken")
        assert visit.last.text == "Who are you?"
    async with talk(bot=bot) as visit:
        who = {"attributes": {"customer_number": "C-7"}}
        reply = await visit.says("I want to return an order, BW-10011, it is broken", **who)
        assert reply.text.endswith("- Customer: C-7")
        reply = await visit.says("yes", **who)
        assert visit.done == [("BW-10011", "broken", "C-7")]
        assert reply.tools[-1].call.origins["customer"] == {Origin.TENANT}


async def test_a_value_that_a_tool_refuses_is_asked_for_again(talk):
    async with talk() as visit:
        reply = await visit.says("I want to send back BW-99999")
        assert reply.text == "I know no order BW-99999.\n\nWhich order?"
        assert (await visit.says("hm")).text == "I did not get that.\n\nWhich order?"
        assert (await visit.says("sorry, it is BW-10011.")).flow.values == {"order": "BW-10011"}


async def test_texts_may_name_what_the_check_told(bot_yaml, desk_plugin, make_project):
    bot = bot_yaml.replace(
        "    do: register\n", "    confirm: 'Return {order}, which is {order.state}{order.none}?'\n    do: register\n"
    )
    plugin = desk_plugin.replace('return "sent"', 'return {"state": "sent"}')
    root = make_project({"tenants/acme/desk/bot.yaml": bot, "plugins/desk.py": plugin})
    for said, expected in [
        ("I want to send back BW-10011", "Why?\n- It is broken\n- It is the wrong one"),
        ("it is broken", "Return BW-10011, which is sent–?"),  # in another process, too
    ]:
        async with sartor.open(root) as bots:
            assert (await bots["acme/desk"].reply(said, user="ann", conversation="c1")).text == expected


async def test_the_flow_whose_words_say_more_is_wanted(talk, bot_yaml):
    bot = bot_yaml.replace("[return an order, send back]", "[cancel my appointment]")
    async with talk(bot=bot) as visit:
        assert (await visit.says("I have to cancel my appointment")).flow.name == "return_order"
        reply = await visit.says("I want to make an appointment", conversation="c2")
        assert reply.flow.name == "booking"


async def test_a_tool_for_flows_is_none_of_the_models(make_project, bot_yaml, desk_plugin):
    plugin = desk_plugin.replace("@tool\ndef order_status", "@tool(for_flows=True)\ndef order_status")
    files = {"tenants/acme/desk/bot.yaml": bot_yaml, "plugins/desk.py": plugin}
    async with sartor.open(make_project(files, script=[call("order_status", order="BW-10011"), "Fine."])) as bots:
        reply = await bots["acme/desk"].reply("Where is it?", user="ann")
        assert "the script calls 'order_status', but the bound tools are ['begin_booking'" in reply.error
        reply = await bots["acme/desk"].reply("I want to send back BW-10011", user="ann")
        assert (reply.flow.slot, reply.tools[0].result.text) == ("reason", "sent")


async def test_a_choice_that_sounds_like_leaving(talk, bot_yaml):
    async with talk(bot=bot_yaml.replace("wrong: It is the wrong one", "mind: I changed my mind")) as visit:
        reply = await visit.says_all("I want to send back BW-10011", "I changed my mind.")
        assert reply.flow.values["reason"] == "mind"
        assert (await visit.says("I changed my mind")).flow.stage == "left"


async def test_a_flow_that_the_model_may_not_begin(talk, bot_yaml):
    bot = bot_yaml.replace("    title: the return\n", "    title: the return\n    by_model: false\n")
    async with talk(["Hello."], bot=bot) as visit:
        await visit.says("Good morning")
        [options] = visit.bot._parts.model.options
        names = [tool["function"]["name"] for tool in options["tools"]]
        assert "begin_booking" in names and "begin_return_order" not in names
        assert (await visit.says("I want to send back BW-10011")).flow.name == "return_order"


async def test_more_options_than_are_shown(talk):
    async with talk() as visit:
        module = sys.modules[type(visit.bot.plugins[0]).__module__]
        module.TIMES = [f"{9 + at // 4:02}:{at % 4 * 15:02}" for at in range(32)]
        reply = await visit.says_all(START, "a check-up", "the 14th")
        assert len(reply.flow.options) == 20 and "16:45" not in reply.text
        assert (await visit.says("16:45")).flow.values["time"] == "16:45"


async def test_a_wish_to_change_something_is_asked_what(talk):
    async with talk() as visit:
        reply = await visit.says_all("I want to send back BW-10011, it is broken", "Change")
        assert (reply.text, reply.flow.stage) == ("What shall I change?", "changing")
        assert (await visit.says("it is the wrong one")).flow.values["reason"] == "wrong"
        assert (await visit.says("yes")).flow.stage == "done"


async def test_bounds_of_a_date(talk):
    async with talk() as visit:
        await visit.says_all(START, "a check-up")
        reply = await visit.says("today")
        assert reply.text == "We take bookings from tomorrow on, for three months.\n\nOn which day?"
        assert (await visit.says("in a year, on 24 November 2027")).flow.slot == "day"


async def test_nothing_to_choose_from_asks_for_what_it_hangs_on(talk):
    async with talk() as visit:
        await visit.says_all(START, "a check-up")
        reply = await visit.says("on Saturday")
        assert reply.text == "Nothing is left for that. Please choose something else.\n\nOn which day?"
        assert "day" not in reply.flow.values


async def test_asking_for_the_flow_that_is_on_is_no_wrong_answer(talk):
    async with talk() as visit:
        await visit.says("I want to send back BW-10011")
        for _ in range(4):
            assert (await visit.says("I want to return an order")).text.startswith("Why?")


async def test_three_answers_that_do_not_fit_end_it(talk):
    async with talk() as visit:
        await visit.says_all(START, "a check-up", "hm", "hm")
        reply = await visit.says("hm")
        assert reply.text == "I do not get on here, so I have stopped. Nothing was done."
        assert reply.flow.stage == "stuck"
        assert (await visit.says(START)).flow.values == {}


async def test_today_is_the_users(talk):
    async with talk(now=datetime(2026, 11, 25, 23, 30, tzinfo=UTC)) as visit:  # half past midnight in Paris
        await visit.says_all(START, "a check-up")
        assert (await visit.says("tomorrow")).flow.values["day"] == "2026-11-27"


async def test_kinds_of_slots(talk):
    more = """
      guests:
        title: your table
        start: [count guests]
        slots:
          guests: {ask: How many?, type: integer, at_least: 1, at_most: 8, wrong: From one to eight.}
          adult: {ask: All adults?, type: yes_no}
          price: {ask: How much?, type: number}
          email: {ask: E-mail?, type: email}
          phone: {ask: Phone?, type: phone}
        do: count
        done: "{guests} {adult} {price} {email} {phone}"
    """
    async with talk(more="  " + textwrap.dedent(more).strip().replace("\n", "\n  ")) as visit:
        await visit.says("I want to count guests")
        assert (await visit.says("9")).text == "From one to eight.\n\nHow many?"
        await visit.says_all("for three, please", "yes", "12.50", "it is ana@example.com.")
        reply = await visit.says("call +44 20 7946 0000")
        assert visit.done == [(3, True, 12.5, "ana@example.com", "+44 20 7946 0000")]
        assert reply.text == "3 yes 12.5 ana@example.com +44 20 7946 0000", "it acts on nothing, so it asks nothing"


ANSWERS = """
  guests:
    title: {en: your table, fr: votre table}
    start: {en: [count guests], fr: [compter]}
    slots:
      guests: {ask: How many?, type: integer, optional: true}
      adult: {ask: All adults?, type: yes_no}
      phone: {ask: Phone?, type: choice, choices: ["1", "2"], optional: true}
    do: tell
    done: "{guests} {adult} {phone}"
"""


@pytest.mark.parametrize(
    ("language", "begin", "skip", "yes_no"),
    [("en", "count guests", "Skip", ("Yes", "No")), ("fr", "compter", "Passer", ("Oui", "Non"))],
)
async def test_yes_no_and_skip_are_offered_and_understood(talk, language, begin, skip, yes_no):
    async with talk(more=ANSWERS) as visit:
        reply = await visit.says(begin, language=language)
        assert reply.flow.options == (skip,)
        reply = await visit.says(skip, language=language)
        assert (reply.text, reply.flow.options) == ("All adults?", yes_no), "they are buttons, and no list in the text"
        reply = await visit.says(yes_no[1], language=language)
        assert (reply.flow.options, reply.text.splitlines()[1:]) == (("1", "2", skip), ["- 1", "- 2"])
        await visit.says(skip, language=language)
        assert visit.done == [(False,)]


async def test_a_question_about_the_matter_does_not_begin_it(talk):
    asked = call("choose", statement="The user asks for information about: the return.")
    async with talk([asked, "Within 30 days."]) as visit:
        reply = await visit.says("How long can I return an order?")
        assert (reply.text, reply.flow) == ("Within 30 days.", None)


async def test_a_wish_put_as_a_question_begins_it_where_the_model_takes_it_so(talk):
    wants = call("choose", statement="The user wants it now: the return.")
    async with talk([wants]) as visit:
        assert (await visit.says("Can I return an order?")).text == "Which order?"
        assert visit.last.usage.calls == 1


async def test_the_model_may_begin_a_flow(talk):
    async with talk([call("begin_return_order")]) as visit:
        reply = await visit.says("My parcel with BW-10011 arrived in pieces, it is broken")
        assert reply.text == "Is this right?\n- Order: BW-10011\n- Reason: It is broken"
        assert reply.tools[0].call.name == "order_status"


async def test_the_model_chooses_what_other_words_mean(talk):
    meant = call("choose", statement="reason: It is broken.")
    async with talk([meant]) as visit:
        await visit.says("I want to return an order, BW-10011")
        reply = await visit.says("the glass arrived smashed to pieces")
        assert reply.flow.values["reason"] == "broken"


async def test_a_model_that_says_none_of_the_statements_is_not_followed(talk):
    async with talk(["Whatever."]) as visit:
        await visit.says("I want to return an order, BW-10011")
        reply = await visit.says("the glass arrived smashed to pieces")
        assert (reply.flow.slot, reply.text) == (
            "reason", "I did not get that.\n\nWhy?\n- It is broken\n- It is the wrong one")  # fmt: skip


async def test_a_model_that_takes_choices_is_given_them_with_their_weights(talk):
    async with talk(["The user agrees."], choices=True) as visit:
        await visit.says_all(*ALL)
        reply = await visit.says("Mmh, I suppose that could be arranged somehow")
        assert (reply.flow.stage, visit.done) == ("confirming", []), "a yes is never the model's"


async def test_the_model_cannot_call_what_a_flow_does(talk, monkeypatch):
    def not_offered(self, calls, options):
        told = [{"name": one.name, "args": json.dumps(one.arguments), "id": "c1", "index": 0} for one in calls]
        return AIMessageChunk(content="", tool_call_chunks=told)

    monkeypatch.setattr(ScriptedModel, "_call_chunk", not_offered)
    booking = call("book", service="checkup", day="2026-12-14", time="10:30", name="Ana")
    async with talk([booking, "Done."]) as visit:
        reply = await visit.says("Please do it at once")
        assert visit.done == []
        assert reply.tools[0].result.text == "Error: there is no tool 'book'"


async def test_offers(talk):
    async with talk(["Hello."]) as visit:
        await visit.says("Good morning")
        [options] = visit.bot._parts.model.options
        names = [tool["function"]["name"] for tool in options["tools"]]
        assert "begin_booking" in names and "begin_return_order" in names
        assert "book" not in names
        assert "order_status" in names


async def test_flows_of_another_audience(talk, bot_yaml):
    for_staff = bot_yaml.replace("    do: book\n", "    do: book\n    audiences: [staff]\n")
    async with talk(["No."], bot=for_staff) as visit:
        assert (await visit.says(START)).text == "No."
        assert (await visit.says(START, conversation="c2", audience="staff")).flow is not None


class TestOnce:
    """What a flow does, it does once."""

    async def test_two_yes_at_once(self, talk):
        async with talk() as visit:
            await visit.says_all(*ALL)
            replies = await asyncio.gather(visit.says("yes"), visit.says("yes"))
            assert len(visit.done) == 1
            assert sorted(reply.flow.stage for reply in replies) == ["doing", "done"]
            assert {reply.outcome for reply in replies} == {Outcome.ANSWERED}
            assert (await visit.says(START)).flow.values == {}

    async def test_a_tool_that_says_no_may_be_tried_again(self, talk):
        async with talk() as visit:
            await visit.says_all(*ALL)
            visit.faults.append(ToolError("10:30 was taken just now"))
            reply = await visit.says("yes")
            assert reply.text == (
                "That did not work: 10:30 was taken just now. Shall I try again, change something, or stop?"
            )
            assert (await visit.says("at 15:00")).flow.values["time"] == "15:00"
            assert (await visit.says("yes")).text == "Booked: A-1."

    async def test_a_tool_that_breaks_is_not_called_again(self, talk):
        async with talk(["What?"]) as visit:
            await visit.says_all(*ALL)
            visit.faults.append(RuntimeError("connection lost"))
            reply = await visit.says("yes")
            assert reply.text.startswith("Something broke while I did it, and I cannot tell")
            assert (reply.flow.stage, "RuntimeError" in reply.error) == ("unsure", True)
            assert (await visit.says("yes")).text == "What?"
            assert visit.done == []

    async def test_a_message_while_it_is_done_is_told_so(self, talk, hold):
        async with talk(["Hello."]) as visit:
            await visit.says_all(*ALL)
            async with hold(visit) as (first, go):
                reply = await visit.says("is it done?")
                assert (reply.text, reply.flow.stage) == ("That is under way. One moment, please.", "doing")
                go.set()
                assert (await first).text == "Booked: A-7."
            assert (await visit.says("Hi")).text == "Hello."

    async def test_a_message_that_comes_as_it_ends_is_an_ordinary_one(self, talk, hold, monkeypatch):
        """It read that it was being done, and was then held up until that was over."""
        async with talk(["Hello."]) as visit:
            await visit.says_all(*ALL)
            async with hold(visit) as (first, go):
                judged = Judge.input

                async def late(self: Judge, text: str):
                    go.set()
                    await first
                    return await judged(self, text)

                monkeypatch.setattr(Judge, "input", late)
                assert (await visit.says("Hi")).text == "Hello."

    async def test_another_process_is_waited_for_as_long_as_its_turn_may_take(self, talk, hold):
        async with talk(["Hello."]) as visit:
            await visit.says_all(*ALL)
            moments = [WEDNESDAY]
            other = Bot(replace(visit.bot._parts, doing=Doing(), now=lambda: moments[0]))
            async with hold(visit) as (first, _):
                assert (await other.reply("Hm?", user="ann", conversation="c1")).flow.stage == "doing"
                moments[0] += timedelta(seconds=131)
                reply = await other.reply("Hm?", user="ann", conversation="c1")
                assert (reply.flow.stage, visit.done) == ("unsure", [])
                assert (await other.reply("Hi", user="ann", conversation="c1")).text == "Hello."
                first.cancel()

    async def test_a_process_that_died_meanwhile(self, talk, hold):
        """Another one, started after it, waits for the time that its turn might have taken."""
        async with talk() as visit:
            store = visit.bot._parts.store
            await visit.says_all(*ALL)
            async with hold(visit) as (first, _):
                doing = await store.standing("desk", "ann", "c1")
                first.cancel()
            ended = await store.standing("desk", "ann", "c1")
            assert ended["active"]["lease"] == doing["active"]["lease"]
            moment = datetime(2026, 11, 25, 12, 3, tzinfo=UTC)
            again = Bot(replace(visit.bot._parts, doing=Doing(), now=lambda: moment))
            reply = await again.reply("yes", user="ann", conversation="c1")
            assert (reply.flow.stage, visit.done) == ("unsure", [])

    async def test_what_an_earlier_version_left_is_unsure(self, talk):
        async with talk() as visit:
            store = visit.bot._parts.store
            await visit.says_all(*ALL)
            standing = await store.standing("desk", "ann", "c1")
            active = {name: told for name, told in standing["active"].items() if name != "lease"}
            doing = {**standing, "active": {**active, "stage": "doing"}}
            assert await store.exchange_standing("desk", "ann", "c1", old=standing, new=doing)
            reply = await visit.says("yes")
            assert (reply.flow.stage, visit.done) == ("unsure", [])

    async def test_a_caller_who_leaves_in_the_middle(self, talk, hold):
        async with talk() as visit:
            await visit.says_all(*ALL)
            async with hold(visit) as (first, _):
                first.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await first
            assert (await visit.says("yes")).flow.stage == "unsure"
            assert visit.done == []


class TestKept:
    """A flow is kept with its conversation."""

    async def test_after_a_restart(self, make_project, bot_yaml, desk_plugin):
        root = make_project({"tenants/acme/desk/bot.yaml": bot_yaml, "plugins/desk.py": desk_plugin})
        for said, expected in [
            (START, "What is it for?"),
            ("a check-up", "On which day?"),
            ("tomorrow", "At what time"),
        ]:
            async with sartor.open(root) as bots:
                reply = await on_a_wednesday(bots).reply(said, user="ann", conversation="c1")
                assert reply.text.startswith(expected)

    async def test_for_its_user_and_conversation_alone(self, talk):
        async with talk(["Hello."]) as visit:
            await visit.says_all(START, "a check-up")
            reply = await visit.bot.reply("tomorrow", user="ann", conversation="c2")
            assert reply.flow is None

    async def test_it_is_forgotten_after_a_day(self, talk):
        moments = [WEDNESDAY]
        async with talk(["Hello."]) as visit:
            object.__setattr__(visit.bot._parts, "now", lambda: moments[0])
            await visit.says_all(START, "a check-up")
            moments[0] += timedelta(hours=25)
            assert (await visit.says("tomorrow")).text == "Hello."

    async def test_what_a_caller_brings_as_history_has_no_flow(self, talk):
        async with talk(["Hello."]) as visit:
            options = TurnOptions(history=(Exchange("Hi", "Hello."),))
            assert (await visit.says(START, options=options)).text == "Hello."

    async def test_a_stored_turn_tells_of_it(self, talk):
        async with talk() as visit:
            reply = await visit.says(START)
            stored = await visit.bot._parts.store.reply(reply.turn.id)
            assert stored.reply.flow == reply.flow


class TestPolicies:
    """Policies judge what a flow is told, does and says."""

    POLICY = """
        from sartor import Plugin, Policy, block, hookimpl, rewrite, Edit, ALLOW
        class Guard(Policy):
            window = None
            async def tool_call(self, turn, call):
                return block("no booking") if call.name == "book" else ALLOW
            async def output(self, turn, draft):
                at = draft.text.find("Ana Ruiz")
                return rewrite([Edit(at, at + 8, "[name]")]) if at >= 0 else ALLOW
        class GuardPlugin(Plugin):
            @hookimpl
            def sartor_policies(self): return [Guard()]
    """

    async def test_they_do(self, make_project, bot_yaml, desk_plugin):
        bot = bot_yaml.replace("plugins: {desk: {}}", "plugins: {desk: {}, guard: {}}")
        root = make_project(
            {"tenants/acme/desk/bot.yaml": bot, "plugins/desk.py": desk_plugin, "plugins/guard.py": self.POLICY}
        )
        async with sartor.open(root) as bots:
            bot = on_a_wednesday(bots)
            for said in (START, "a check-up", "tomorrow at 10:30", "Ana Ruiz"):
                await bot.reply(said, user="ann", conversation="c1")
            reply = await bot.reply("no", user="ann", conversation="c1")
            assert "for [name]. Shall I book it?" in reply.text
            reply = await bot.reply("yes", user="ann", conversation="c1")
            assert (reply.outcome, reply.flow.stage, reply.tools) == (Outcome.BLOCKED, "blocked", ())


class TestFaultyFlows:
    """A faulty flow is named when the bot is built, with its line."""

    @pytest.mark.parametrize(
        ("old", "new", "told"),
        [
            ("do: book\n", "do: bok\n", "bot.yaml:27: flows.booking.do names the tool 'bok'"),
            ("do: book\n", "do: register\n", "register needs order, reason, which the flow does not know there"),
            ("choices_from: free_times", "choices_from: nothing", "choices_from names the tool 'nothing'"),
            ("check: order_status", "check: book", "book needs service, day, time, name"),
            ("    do: book\n", "", "a flow needs `do`, `hand_over`, or both"),
            ("{time} for {name}", "{tim} for {name}", "confirm names {tim}"),
            ("on {day}?", "on {name}?", "slots.time.ask names {name}; here it may name: day, service"),
            ("Which order?", "Which {result}?", "slots.order.ask names {result}"),
            ("pattern: 'BW-\\d{5}'", "pattern: '['", "no regular expression"),
            ("type: date\n", "type: text\n", "`at_least` and `at_most` go with numbers and dates"),
            ("choices_from: free_times", "optional: true", "one of them is needed there"),
            ("timezone: Europe/Paris", "timezone: Europe/Pari", "there is no time zone 'Europe/Pari'"),
            ("    do: book\n", "    do: book\n    audiences: [kings]\n", "the audience 'kings'"),
            ("      note:", "      no-te:", "flows.booking.slots.no-te"),
        ],
    )
    def test_it_is(self, make_project, bot_yaml, desk_plugin, old, new, told):
        assert old in bot_yaml
        root = make_project({"tenants/acme/desk/bot.yaml": bot_yaml.replace(old, new), "plugins/desk.py": desk_plugin})

        async def build() -> None:
            async with sartor.open(root) as bots:
                bots["acme/desk"]

        with pytest.raises(SpecError) as caught:
            asyncio.run(build())
        assert told in str(caught.value)
        assert "bot.yaml:" in str(caught.value)
