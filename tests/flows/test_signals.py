"""What short answers say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sartor.flows.signals import signals_of, wants, wishes


@pytest.mark.parametrize(
    "text",
    [
        "yes",
        "Yes, please!",
        "ok",
        "That's right",
        "no problem",
        "of course",
        "try again",
        "réessayer",
        "oui",
        "D’accord",
        "c'est ça",
        "ja",
    ],
)
def test_yes(text):
    said = signals_of(text)
    assert (said.yes, said.no, said.leave) == (True, False, False)


@pytest.mark.parametrize("text", ["no", "No, thanks", "nope", "not yet", "wrong", "non", "pas encore", "faux", "nein"])
def test_no(text):
    said = signals_of(text)
    assert (said.yes, said.no) == (False, True)


@pytest.mark.parametrize("text", ["yesterday", "nothing special", "north", "okra", "I know", "non-smoking"])
def test_neither(text):
    assert not signals_of(text).yes


@pytest.mark.parametrize(
    "text",
    [
        "stop",
        "Please stop.",
        "cancel",
        "no, cancel it",
        "forget it",
        "I changed my mind",
        "laisse tomber",
        "annulez, merci",
    ],
)
def test_leaving(text):
    assert signals_of(text).leave


@pytest.mark.parametrize(
    "text",
    ["the bus stop is far", "cancel my order BW-10011", "do not stop now", "I want to cancel an appointment", ""],
)
def test_not_leaving(text):
    assert not signals_of(text).leave


@pytest.mark.parametrize("text", ["Change", "I want to change something, please", "Modifier", "Je voudrais changer"])
def test_a_change_of_something(text):
    assert signals_of(text).change


@pytest.mark.parametrize(
    "text", ["Skip", "skip it please", "I want to skip this question", "Passer", "je passe", "passer cette question"]
)
def test_skipping(text):
    said = signals_of(text)
    assert (said.skip, said.yes, said.no, said.leave) == (True, False, False, False)


@pytest.mark.parametrize("text", ["change the day", "change my booking BW-10011", "modifier la date", "exchange"])
def test_a_change_of_a_certain_thing(text):
    assert not signals_of(text).change


@pytest.mark.parametrize(
    "text",
    ["How much?", "what does it cost", "Where are you", "tomorrow?", "Combien ça coûte", "est-ce ouvert", "is it far"],
)
def test_questions(text):
    assert signals_of(text).question


def test_a_wish_is_none_after_a_word_that_asks():
    assert wishes("Can I return an order?")
    assert wishes("Est-ce que je peux rendre ma commande ?")
    assert not wishes("How long can I return an order?")
    assert not wishes("Combien de temps est-ce que je peux garder ma commande ?")


def test_what_a_message_must_have_of_a_phrase():
    assert wants("I would like to return my order, please", "return an order")
    assert wants("Returning orders", "return an order")
    assert not wants("Where is my order?", "return an order")
    assert not wants("the", "the"), "a phrase without an informative word is in every message, or in none"
    assert not wants(
        "return "
        "then my aunt, who lives far up in the north, phoned and told us about her new garden, its old apple tree, "
        "which bears red fruit in late autumn, about snow, wolves, bread, and order",
        "return an order",
    )


@given(st.text(max_size=80))
def test_any_text_is_read(text):
    signals_of(text)
    wishes(text)
    wants(text, text)
