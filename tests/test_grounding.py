"""A reply is tied to its sources: quotations, citations, and what a model may have made up."""

from __future__ import annotations

import math
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sartor.grounding import CitationFilter, cited, quotable, unsupported
from sartor.values import Passage
from sartor.words import overlap


def passage(number: int, text: str, title: str = "T") -> Passage:
    return Passage(f"p{number}", "acme", f"s{number}.md", title, text)


PASSAGES = [
    passage(1, "Parcels leave within one day. Express costs nine euros. Ask us."),
    passage(2, "Returns are free. Parcels leave within one day. Returns are free of charge."),
]
OWN = ["Hello!", "I do not know."]


def quotes(at_most: int = 2, passages=PASSAGES, own=OWN, candidates: int = 24, question: str = "parcels"):
    return quotable(question, passages, own, candidates=candidates, at_most=at_most, prior=1.0)


def test_choices_are_the_sentences_once_each_in_order_and_the_bots_own_texts():
    found = quotes()
    assert found.choices.texts == (
        "Parcels leave within one day. [1]",
        "Express costs nine euros. [1]",
        "Ask us. [1]",
        "Returns are free. [2]",
        "Returns are free of charge. [2]",
        "Hello!",
        "I do not know.",
    )
    assert (found.choices.quotes, found.choices.at_most, found.unknown) == (5, 2, "I do not know.")
    assert len(found.choices.weights) == 7 and found.choices.weights[-2:] == (1.0, 1.0)
    assert found.choices.weights[0] > 1.0 == found.choices.weights[1]


def test_only_the_best_candidates_are_kept_in_the_passages_order():
    found = quotes(candidates=2, question="What do returns and express cost?")
    assert found.choices.texts[:2] == ("Express costs nine euros. [1]", "Returns are free. [2]")
    assert [c.source for c in found.citations] == ["s1.md", "s2.md"]


def test_the_prior_is_the_log_weight_of_the_overlap():
    found = quotable("parcels", PASSAGES, OWN, candidates=24, at_most=1, prior=0.5)
    share = overlap("parcels", [f"T {c.quote}" for c in quotes().citations])
    assert found.choices.weights[:5] == pytest.approx([math.exp(0.5 * 6 * one) for one in share])
    flat = quotable("parcels", PASSAGES, OWN, candidates=24, at_most=1, prior=0.0)
    assert set(flat.choices.weights) == {1.0}


@pytest.mark.parametrize(
    ("reply", "numbers"),
    [
        ("Express costs nine euros. [1]", [1]),
        ("  Express costs nine euros. [1]\n", [1]),
        ("Express costs nine euros. [1] Returns are free. [2]", [1, 2]),
        ("Returns are free. [2]\n\nExpress costs nine euros. [1]", [2, 1]),
        ("Returns are free of charge. [2]", [2]),
    ],
)
def test_quotations_are_read(reply, numbers):
    found = quotes().read(reply)
    assert found is not None and found.known
    assert [c.number for c in found.citations] == numbers
    assert found.text == " ".join(reply.split())


@pytest.mark.parametrize(
    "reply",
    [
        "",
        " ",
        "express costs nine euros. [1]",
        "Express costs ten euros. [1]",
        "Express costs nine euros in Spain. [1]",
        "It is a lie that express costs nine euros. [1]",
        "Express costs nine euros. [1] I do not know.",
        "I do not know. Express costs nine euros. [1]",
        "Hello! Hello!",
        "[1]",
        "Returns are free",
    ],
)
def test_anything_else_is_refused(reply):
    assert quotes().read(reply) is None


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        ("Express costs nine euros.", "Express costs nine euros. [1]"),
        ("Express costs nine euros. [2]", "Express costs nine euros. [1]"),
        ("Express costs nine  euros. [1] [1]", "Express costs nine euros. [1]"),
        ('Sure! "Express costs nine euros." [1] Have a nice day!', "Express costs nine euros. [1]"),
        ("Returns are free. [2] Returns are free. [2]", "Returns are free. [2]"),
        ("Ask us now, or: Parcels. Returns are free. [2]", "Returns are free. [2]"),
    ],
)
def test_of_a_free_reply_the_sentences_of_sources_are_kept(reply, text):
    assert quotes().read(reply).text == text


def test_own_texts_stand_alone():
    hello, unknown = quotes().read("Hello!"), quotes().read(" I do not know. ")
    assert hello.known and not hello.citations
    assert not unknown.known and not unknown.citations


def test_a_sentence_that_begins_like_another_is_told_apart():
    passages = [passage(1, "It is free."), passage(2, "It is free. [1] It is free.")]
    found = quotes(passages=passages)
    assert found.read("It is free. [1]").citations[0].quote == "It is free."


def test_at_most_bounds_the_quotations():
    three = "Ask us. [1] Returns are free. [2] Express costs nine euros. [1]"
    assert quotes(at_most=2).read(three).text == "Ask us. [1] Returns are free. [2]"
    assert len(quotes(at_most=3).read(three).citations) == 3
    assert quotes(at_most=1).read("Ask us. [1] Returns are free. [2]").text == "Ask us. [1]"


def test_without_passages_only_the_bots_own_texts_remain():
    found = quotes(passages=[])
    assert found.choices.texts == ("Hello!", "I do not know.") and found.choices.quotes == 0
    assert found.read("Hello!").known and found.read("Anything [1]") is None


@given(st.lists(st.sampled_from([c for c in quotes().choices.texts] + ["x", " ", "[1]", "Ask us."]), max_size=4))
def test_what_is_read_consists_of_sources_only(pieces):
    found = quotes().read(" ".join(pieces))
    if found is not None:
        rest = found.text
        for text in sorted(quotes().choices.texts, key=len, reverse=True):
            rest = rest.replace(text, "")
        assert not rest.strip() and len(found.citations) <= 2


# Citations in free text.


def filtered(pieces, passages: int = 3) -> str:
    numbers = CitationFilter(passages)
    return "".join([*(numbers.feed(piece) for piece in pieces), numbers.feed("", final=True)])


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("Yes [1].", "Yes [1]."),
        ("Yes [4].", "Yes."),
        ("Yes [0].", "Yes."),
        ("Yes [1][4][2].", "Yes [1][2]."),
        ("Yes [4] [5] no", "Yes no"),
        ("[4]Yes", "Yes"),
        ("a [x] [12", "a [x] [12"),
        ("[1234]", "[1234]"),
        ("end ", "end "),
        ("two  [4]", "two "),
        ("", ""),
    ],
)
def test_numbers_that_point_to_no_passage_go_at_every_split(text, result):
    assert filtered([text]) == result
    assert filtered(list(text)) == result
    for a in range(len(text) + 1):
        for b in range(a, len(text) + 1):
            assert filtered([text[:a], text[a:b], text[b:]]) == result


@given(st.text("[]1 4a\n", max_size=25), st.lists(st.integers(0, 25), max_size=8))
def test_the_filter_does_not_depend_on_how_the_text_is_split(text, places):
    bounds = [0, *sorted(place for place in places if place <= len(text)), len(text)]
    assert filtered([text[a:b] for a, b in pairwise(bounds)]) == filtered([text])


def test_the_filter_holds_back_no_more_than_a_citation():
    numbers = CitationFilter(3)
    assert numbers.feed("Yes [1] and") == "Yes [1] and"
    assert numbers.feed(" [") == "" and numbers.feed("12") == "" and numbers.feed("] so") == " so"


def test_cited_names_each_passage_once_in_order_of_appearance():
    found = cited("a [2] b [1] c [2] d [9] e [0]", PASSAGES)
    assert [(c.number, c.source, c.quote) for c in found] == [(2, "s2.md", ""), (1, "s1.md", "")]
    assert cited("none", PASSAGES) == () and cited("[1]", []) == ()


# What a model made up.

SOURCE = '{"order_id": "BW-1042", "status": "shipped", "expected": "12 March", "price": "1,250.00 EUR"}'


@pytest.mark.parametrize(
    ("reply", "made_up"),
    [
        ("Your order BW-1042 was shipped and comes on 12 March.", []),
        ("Order bw-1042 comes on 12 march.", []),
        ("Order BW-1043 was shipped.", ["BW-1043"]),
        ("It comes on 13 March.", ["13"]),
        ("It comes on 12 April.", ["April"]),
        ("It comes on 12 april.", ["april"]),
        ("It comes on Monday.", ["Monday"]),
        ("We sent it with Hermes.", ["Hermes"]),
        ("Hermes has it.", []),  # the first word of a sentence has a capital anyway
        ("I think I know.", []),
        ("It costs 1,250.00 EUR.", []),
        ("It costs 1,260.00 EUR.", ["1,260.00"]),
        ("", []),
        ("Nothing to check here.", []),
    ],
)
def test_figures_dates_and_names_without_a_source(reply, made_up):
    assert unsupported(reply, [SOURCE]) == made_up


@pytest.mark.parametrize(
    ("figure", "source", "same"),
    [
        ("1250", "1,250", True),
        ("1,250", "1250", True),
        ("1.250", "1250", True),
        ("12,50", "12.50", True),
        ("1250", "12.50", False),
        ("12.50", "1250", False),
        ("12.5", "125", False),
        ("5", "15", False),
        ("15", "1.5", False),
    ],
)
def test_the_same_figure_in_another_grouping(figure, source, same):
    assert (unsupported(f"It is {figure} euros.", [f"price: {source}"]) == []) is same


# How much of a question a sentence shares.


@pytest.mark.parametrize(
    ("question", "best", "others"),
    [
        ("How long do deliveries take?", "Delivery takes two days.", ["Returns are free.", "We repair bicycles."]),
        ("Can I return my bicycle?", "Returned bicycles are refunded.", ["Delivery is fast.", "Ask for the price."]),
        (
            "Quels sont les délais de livraison ?",
            "Le delai de livraison est de deux jours.",
            ["Les retours sont gratuits."],
        ),
        (
            "Où sont réparés les vélos ?",
            "Nous réparons les vélos à Lyon.",
            ["Les retours sont gratuits.", "Écrivez-nous."],
        ),
        ("Where is BW-1042?", "Order BW-1042 was shipped.", ["Order BW-1043 was shipped."]),
        ("RETOUR GRATUIT", "Les retours sont gratuits.", ["Le délai est de deux jours."]),
    ],
)
def test_the_sentence_that_answers_shares_most(question, best, others):
    first, *rest = overlap(question, [best, *others])
    assert 0 < first <= 1 and all(first > other >= 0 for other in rest)


def test_overlap_is_a_share():
    assert overlap("parcels", ["parcels", "nothing"]) == [1.0, 0.0]
    assert overlap("the of and", ["the of and"]) == [0.0]
    assert overlap("", ["a"]) == [0.0] and overlap("parcels", []) == []


def test_a_word_that_many_sentences_have_counts_less():
    texts = ["order now", "order later", "order shipped", "order parcel"]
    scores = overlap("order parcel", texts)
    assert scores[3] == 1.0 and all(score < 0.5 for score in scores[:3])


@given(st.text(max_size=30), st.lists(st.text(max_size=30), max_size=4))
def test_overlap_is_between_nought_and_one(question, texts):
    assert all(0 <= score <= 1 + 1e-9 for score in overlap(question, texts))


def test_a_sentence_is_quoted_as_the_document_has_it():
    text = "Prices — café: 3 €, thé: 2 €\n- Open daily\n- Closed on 1 May"
    for choice in quotes(passages=[passage(1, text)]).choices.texts[:-2]:
        assert re.sub(r" \[1\]$", "", choice) in text
