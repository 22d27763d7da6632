"""Topics: what is refused, what is not, and which share of public questions."""

from __future__ import annotations

import csv
import json
import time
from pathlib import Path

import pytest
from pydantic import ValidationError
from sartor.judge import Judge
from sartor.policy import ALLOW, Draft, Kind, Policy, Verdict
from sartor.values import BotInfo, Passage, ToolCall, ToolResult, Turn
from sartor_plugins.topics import TopicsPlugin, TopicsSettings
from sartor_plugins.topics.phrases import Phrases, content, words
from sartor_plugins.topics.settings import ready_made

SHARED = Path(__file__).parents[3] / "shared" / "data"
ALL = list(ready_made())


def policies(**given: object) -> list[Policy]:
    checked = TopicsSettings.model_validate(given)
    return list(TopicsPlugin(checked, Path()).sartor_policies(BotInfo("acme", "support", Path(), Path())))


def turn(text: str = "", language: str = "en", number: int = 1) -> Turn:
    return Turn(f"t{number}", "c", "acme", "support", "u", text, language=language)


async def judge(text: str, language: str = "en", **given: object) -> Verdict:
    _, verdict = await Judge(policies(**given), turn(text, language)).input(text)
    return verdict


@pytest.mark.parametrize(
    ("topic", "text"),
    [
        ("politics", "Who should I vote for?"),
        ("politics", "What do you think about the ELECTIONS?"),
        ("politics", "Is the prime minister any good?"),
        ("politics", "Are you left-wing?"),
        ("politics", "Que penses-tu des élections ?"),
        ("politics", "Que pensez-vous de la politique du gouvernement"),
        ("politics", "Pour qui dois-je voter ? Pour Macron ?"),
        ("religion", "Do you believe in God?"),
        ("religion", "Which religion is best?"),
        ("religion", "Croyez-vous en Dieu ?"),
        ("medical-advice", "What are the side effects of this cream?"),
        ("medical-advice", "I have a headache, what can I take?"),
        ("medical-advice", "Which medicines help against a cold?"),
        ("medical-advice", "J'ai mal à la tête, que prendre ?"),
        ("medical-advice", "Quels sont les effets secondaires ?"),
        ("legal-advice", "Can I sue my neighbour?"),
        ("legal-advice", "Is it legal to ride without a helmet?"),
        ("legal-advice", "Puis-je porter plainte contre lui ?"),
        ("investment-advice", "Should I invest in Bitcoin?"),
        ("investment-advice", "Which stocks should I buy?"),
        ("investment-advice", "Dois-je investir dans l'immobilier ?"),
    ],
)
async def test_ready_made_topics_are_refused(topic: str, text: str) -> None:
    settings: list[object] = [[topic], ALL, {topic: None}, {topic: {}}]
    for given in settings:
        verdict = await judge(text, blocked=given)
        assert verdict.kind is Kind.BLOCK
        assert verdict.reason == f"rule: blocked topic {topic!r}"
        assert verdict.message == ready_made()[topic].message["en"]
    assert await judge(text, blocked=[name for name in ALL if name != topic]) is ALLOW


HARMLESS = """
Where is my order BW-1042?
Do you have this bike in stock?
What does labour cost outside the warranty?
Can I book a birthday party at the showroom?
Is there a church near the shop?
Are your sausages halal or kosher?
Oh my God, thank you!
My name is Christian Pope-Miller.
Does the helmet protect against injury?
Is the child seat safe for a baby?
Which cream is for dry skin?
Can you treat leather with this wax?
What is your returns policy?
Does the insurance pay lawyers' costs in disputes with neighbours?
Can I pay in instalments?
How do I open an account?
Do you sell gift cards?
Is the saddle covered by the guarantee?
I voted this the best shop of the year
Our company elected your catering
Can you diagnose the problem with my gears?
Which saddle helps against back pain?
Is an electric bike a good investment?
What are your trading hours?
My name is Jesús García
Am I liable for damage to a rented bike?
I have a white house, which lamp fits?
Livrez-vous en Hollande ?
Pouvez-vous faire un diagnostic de mon vélo ?
Quel est le prix de la livraison ?
Puis-je retourner un vélo ?
Quels sont les frais d'avocat couverts ?
Avez-vous des avocats bio ?
Cette action est-elle encore valable ?
Quelle est votre politique de retour ?
Quelle est la politique de confidentialité ?
L'ordonnance de mon opticien suffit-elle ?
""".strip().splitlines()


@pytest.mark.parametrize("text", HARMLESS)
async def test_questions_of_customers_are_not_refused(text: str) -> None:
    assert await judge(text, blocked=ALL) is ALLOW


async def test_own_topics() -> None:
    given = {"competitors": ["Rivalbikes", "Cycle King"], "prices": {"phrases": ["discount*"], "message": "Call us."}}
    assert (
        await judge("Are you cheaper than rivalbikes?", blocked=given)
    ).reason == "rule: blocked topic 'competitors'"
    assert (await judge("Is cycle  KING's bike better?", blocked=given)).kind is Kind.BLOCK
    assert (await judge("A discounted bike?", blocked=given)).message == "Call us."
    assert await judge("I am the king of my cycle", blocked=given) is ALLOW
    more = {"politics": {"phrases": ["mayor"], "message": {"en": "No.", "fr": "Non."}}}
    assert (await judge("Who is the mayor?", "fr", blocked=more)).message == "Non."
    assert (await judge("Who won the election?", "de", blocked=more)).message == "No."


async def test_messages() -> None:
    assert (await judge("bitcoin?", "fr", blocked=ALL)).message.startswith("Je ne peux pas donner de conseil en inv")
    assert (await judge("bitcoin?", blocked=ALL, message="Only bikes.")).message == "Only bikes."
    assert (await judge("rivalbikes?", "fr", blocked={"c": ["rivalbikes"]})).message.startswith("Je ne réponds qu'aux")


ALLOWED = ["bicycles", "delivery", "returns and refunds", "opening hours", "my order", "vélos électriques"]


@pytest.mark.parametrize(
    "text",
    [
        "When will you deliver my package?",
        "Which bicycle fits a tall man?",
        "I want to retrun this jacket and get a refund",
        "opening times on public holidays",
        "Quel vélo électrique pour une petite femme ?",
        "thanks!",
        "and abroad?",
        "hi there, how are you?",
    ],
)
async def test_allowed_topics_pass(text: str) -> None:
    assert await judge(text, allowed=ALLOWED) is ALLOW


@pytest.mark.parametrize(
    "text",
    [
        "Write a poem about the sea",
        "What is the capital of France?",
        "How do I bake sourdough bread?",
        "Raconte une blague belge",
    ],
)
async def test_all_else_is_out_of_scope(text: str) -> None:
    verdict = await judge(text, allowed=ALLOWED)
    assert (verdict.kind, verdict.reason) == (Kind.BLOCK, "rule: none of the allowed topics")
    assert verdict.message == "I can only help with questions about our own products and services."


async def replied(rule: Policy, about: Turn) -> bool:
    release = Judge([rule], about).release()
    text = await release.feed("Some ") + await release.feed("words.", final=True)
    assert text in ("", "Some words.")
    return bool(text)


async def test_a_fitting_passage_or_a_tool_puts_a_question_in_scope() -> None:
    [rule] = policies(documents=0.3, allowed=["delivery"])
    question = "Is the Tern Ridge a gravel machine?"
    call = ToolCall("1", "order_status", {})
    assert await rule.input(turn(question), question) is ALLOW
    assert not await replied(rule, turn(question))

    await rule.passage(turn(number=2), Passage("p", "acme", "a.md", "A", "text", score=0.29))
    assert not await replied(rule, turn(number=2))
    await rule.passage(turn(number=3), Passage("p", "acme", "a.md", "A", "text", score=0.3))
    assert not await replied(rule, turn(number=4))  # another turn at the same time
    assert await replied(rule, turn(number=3))
    assert not await replied(rule, turn(number=3))  # over, so forgotten

    await rule.tool_result(turn(number=5), call, ToolResult("1", "order_status", "x", error=True))
    assert not await replied(rule, turn(number=5))
    await rule.tool_result(turn(number=5), call, ToolResult("1", "order_status", "shipped"))
    assert await replied(rule, turn(number=5))

    for text in ("Do you deliver parcels?", "thanks"):
        await rule.input(turn(text, number=6), text)
        assert await replied(rule, turn(text, number=6))


async def test_nothing_of_a_reply_out_of_scope_is_shown() -> None:
    [rule] = policies(documents=0.3)
    verdict = await rule.output(turn(), Draft("S", 0, False))
    assert (verdict.kind, verdict.reason) == (Kind.BLOCK, "rule: none of the allowed topics")


async def test_turns_that_never_end_are_forgotten_and_refused() -> None:
    [rule] = policies(documents=0.0)
    for number in range(3000):
        await rule.passage(turn(number=number), Passage("p", "acme", "a.md", "A", "text"))
    assert not await replied(rule, turn(number=0))
    assert await replied(rule, turn(number=2999))


def test_only_what_is_set_becomes_a_policy() -> None:
    assert policies() == []
    assert len(policies(blocked=ALL)) == 1
    assert len(policies(blocked=ALL, allowed=["bikes"])) == 2
    assert len(policies(blocked=ALL, allowed=["bikes"], documents=0.2)) == 2


def test_a_misspelt_topic_is_an_error_that_helps() -> None:
    with pytest.raises(ValidationError, match="did you mean 'politics'"):
        policies(blocked=["politic"])
    with pytest.raises(ValidationError, match="ready-made are politics, religion"):
        policies(blocked={"weather": []})
    faults: list[object] = [
        {"block": []},
        {"similarity": 0},
        {"blocked": {"a": ["  "]}},
        {"documents": 2},
        {"blocked": "politics"},
    ]
    for wrong in faults:
        with pytest.raises(ValidationError):
            TopicsSettings.model_validate(wrong)


def test_words() -> None:
    assert words("L’Élection\u00ad s, Chevaux & politi\u200bcs/taxes!") == [
        "l",
        "election",
        "s",
        "cheval",
        "politic",
        "tax",
    ]
    assert words("a 12 élect*") == ["a", "12", "elect*"]
    assert content("How long is the delivery of 2 bikes, please? Bikes!") == ["long", "delivery", "bike"]


def test_the_lists_are_complete() -> None:
    for topic in ready_made().values():
        assert set(topic.message) == {"en", "fr"}
        assert len(topic.phrases) > 20
        assert all(words(phrase) for phrase in topic.phrases)


@pytest.mark.parametrize("piece", ["election ", "vote ", "a", "a ", "the president of ", "stock", "\u200b", "é", "my "])
async def test_time_grows_in_line_with_the_text(piece: str) -> None:
    text = (piece * 100_000)[:100_000]
    began = time.process_time()
    await judge(text, blocked=ALL)
    await judge(text, allowed=ALLOWED)
    assert time.process_time() - began < 10


def _rate(texts: list[str], names: list[str]) -> float:
    topics = [Phrases(ready_made()[name].phrases, ready_made()[name].exceptions) for name in names]
    return sum(any(topic.among(words(text)) for topic in topics) for text in texts) / len(texts)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the public data sets are not on this machine")
def test_few_harmless_public_questions_are_refused() -> None:
    with (SHARED / "attacks" / "xstest_prompts.csv").open(encoding="utf-8", newline="") as file:
        safe = [row["prompt"] for row in csv.DictReader(file) if row["label"] == "safe"]
    clinc = json.loads((SHARED / "retrieval" / "out-of-scope" / "clinc150.json").read_text(encoding="utf-8"))
    assert len(safe) == 250
    assert _rate(safe, ["politics"]) <= 0.03  # all of them name a politician or a party
    assert _rate(safe, ["religion"]) <= 0.02
    assert _rate(safe, ["medical-advice", "legal-advice", "investment-advice"]) == 0
    assert _rate([text for text, _ in clinc["train"]], ALL) <= 0.004  # most of them ask for vaccinations


BANKING = [
    "transfer money", "transactions", "account balance", "bank account", "freeze account", "pay bill", "interest rate",
    "routing number", "minimum payment", "order checks", "pin number", "fraud", "blocked account", "spending",
    "credit score", "credit card", "lost card", "credit limit", "rewards points", "card application", "card declined",
    "international fees", "apr", "redeem points", "damaged card", "replacement card", "expiration date", "savings",
]  # fmt: skip
BANKING_INTENTS = """
transfer transactions balance freeze_account pay_bill bill_balance bill_due interest_rate routing min_payment
order_checks pin_change report_fraud account_blocked spending_history credit_score report_lost_card
credit_limit rewards_balance new_card application_status card_declined international_fees apr redeem_rewards
damaged_card credit_limit_change replacement_card_duration improve_credit_score expiration_date
"""


@pytest.mark.skipif(not SHARED.is_dir(), reason="the public data sets are not on this machine")
async def test_allowed_topics_of_a_bank_on_public_questions() -> None:
    clinc = json.loads((SHARED / "retrieval" / "out-of-scope" / "clinc150.json").read_text(encoding="utf-8"))
    [rule] = policies(allowed=BANKING)
    banking = set(BANKING_INTENTS.split())

    async def passed(texts: list[str]) -> float:
        verdicts = [await rule.input(turn(), text) for text in texts]
        return sum(verdict is ALLOW for verdict in verdicts) / len(texts)

    assert await passed([text for text, intent in clinc["val"] if intent in banking]) > 0.95
    assert await passed([text for text, intent in clinc["val"] if intent not in banking]) < 0.25
    assert await passed([text for part in ("oos_train", "oos_val") for text, _ in clinc[part]]) < 0.18
