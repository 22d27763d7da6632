"""What surrounds the questions: system messages, greetings, and the words for not knowing."""

from __future__ import annotations

import random

from training.slots import fill, vary

__all__ = ["Persona", "hello", "make_persona", "off_topic"]

GREETINGS_FROM_USERS = {
    "en": """hello|hi|hi there|hello there|hey|hey there|good morning|good afternoon|good evening|hello!|Hi!|hi, how are you?|howdy|greetings|good day|hello bot|hi everyone
thanks|thank you|thanks a lot|thank you very much|many thanks|ok thanks|great, thank you|cheers|bye|goodbye|see you|hello, anyone there?|hiya|yo|hello, who are you?|hi, nice to meet you|good morning!|hey, are you there?|thanks!|thank you so much|hello friend|morning|evening""",
    "fr": """bonjour|salut|bonsoir|coucou|bonjour !|Bonjour à tous|salut !|merci|merci beaucoup|merci bien|un grand merci|au revoir|à bientôt|bonne journée|bonsoir !|allô|bonjour, ça va ?|hello|bonjour, il y a quelqu'un ?|salutations|merci !|bonjour madame|bonjour monsieur|rebonjour""",
}
GREETING = {
    "en": """(Hello|Hi|Welcome|Good day|Hey|Hi there|Hello there)(!|.|, and welcome!| from {company}!|, nice to see you!) (How can I help( you|)( today|)?|What can I do for you?|What would you like to know?|Ask me about {topic}.|I am {first}, your assistant.|I am the assistant of {company}.|Do you have a question about {topic}?|I answer questions about {topic}.|Ask away!|What are you looking for?|How may I be of service?)
(Welcome to|Hello from|Greetings from) {company}(!|.) (What can I do for you?|How may I help?|Ask me anything about {topic}.|)
(I am {first}|My name is {first}|{first} here)(.|, the assistant of {company}.) (How can I help?|Ask me about {topic}.|What is your question?|)""",
    "fr": """(Bonjour|Salut|Bienvenue|Bonjour et bienvenue)(!| !|.| chez {company} !) (Comment puis-je vous aider( aujourd'hui|) ?|Que puis-je faire pour vous ?|Quelle est votre question ?|Posez-moi vos questions sur {topic}.|Je suis {first}, votre assistant.|Je réponds à vos questions sur {topic}.|)
(Je suis {first}|Je m'appelle {first}|Ici {first}), (l'assistant de {company}|votre assistant)(.| !) (Comment puis-je vous aider ?|Que cherchez-vous ?|)""",
}
UNKNOWN = {
    "en": """(Sorry, |I am sorry, |Unfortunately, |I'm afraid |)(I (do not|don't) know( that|)|I (could|can) not find (that|an answer)( in our documents|)|I have no information (on|about) (that|this)|our (documents|pages) do not (say|answer) (that|this)|this is not in (our|my) documents|that is (something|a question) I cannot answer|I do not have that information).( Please (call|ring) (us on |){phone}.| (Please |)(write to|ask|contact) {email}.| Please ask (our|the) (team|staff|office|support team).| A colleague will (help|get back to) you.| Try asking in another way.|||)
(No answer found|Nothing found|The documents do not say|The documents do not answer this|I can only answer questions about {company}|That is outside what I know|Not in the documents|Let me pass you to a colleague|I would rather not guess)(.|, sorry.|. Please contact {email}.|. Call {phone}.|.)
(We|I) (have|found) nothing (on|about) (that|this)( in our (help pages|handbook|files)|).( Can I help with something else?| Please ask (again|a person|{first}).|)""",
    "fr": """(Désolé, |Je regrette, |Malheureusement, |)(je ne sais pas|je n'ai pas trouvé (la réponse|cette information)|nos documents ne le (disent|précisent) pas|je n'ai pas cette information|je ne peux pas répondre à cette question).( Appelez-nous au {phone}.| Écrivez à {email}.| Contactez notre équipe.||)
(Aucune réponse trouvée|Les documents ne le disent pas|Rien trouvé à ce sujet|Je ne réponds qu'aux questions sur {company}|Cela ne figure pas dans nos documents)(.|, désolé.|. Écrivez à {email}.|. Merci de nous appeler.)""",
}
TOPICS = {
    "en": "our products|orders and deliveries|opening hours|your booking|the handbook|our services|insurance|your account|tickets|the app|menus and tables|health and appointments|bikes|the library|loans|our courses|travel|returns|the town|rules at work",
    "fr": "nos produits|les commandes|les horaires|votre réservation|nos services|votre compte|les billets|l'application|la carte|les rendez-vous|nos cours|les voyages|la mairie",
}
INSTRUCTIONS = {
    "en": """You are (the|an) (assistant|helper|chatbot|virtual assistant|guide|support bot|information desk) (of|for|at) {company}.
Your name is {first}( and you (work|answer) for {company}|).
You (help|answer|assist|serve) (customers|guests|visitors|employees|patients|students|members|users|colleagues)( of {company}| with {topic}|).
(Be|Stay|Always be) (brief|friendly|polite|short|clear|precise|helpful|formal)( and (friendly|calm|clear|to the point|kind|honest)|).
(Answer|Reply|Speak|Write) in (short|simple|plain|complete) sentences.
(Do not|Never) (give|offer) (legal|medical|financial|personal) advice.
(Address|Treat) the (user|customer|guest) (politely|with respect|formally|as a friend).
(Do not|Never) (invent|make up|guess) (anything|facts|prices|answers).
(You know|You talk) (only |)about {topic}.
(Use|Prefer|Avoid) (plain|simple|difficult|technical) words.
(If|When) (the user|a customer) is (angry|unhappy|in a hurry), stay (calm|polite|brief).
Answer in (English|the language of the user).
Sign nothing and promise nothing.
Today is {date}.""",
    "fr": """(Tu es|Vous êtes) (l'assistant|le guide|le conseiller virtuel|l'aide en ligne) de {company}.
(Tu t'appelles|Votre nom est) {first}.
(Aidez|Conseillez|Renseignez) les (clients|visiteurs|patients|élèves|salariés|membres)( sur {topic}|).
(Soyez|Restez) (bref|poli|clair|aimable|précis)( et (calme|courtois|honnête)|).
Répondez (en français|en phrases courtes|simplement).
N'inventez (rien|aucun prix|aucune réponse).
(Ne donnez pas|Jamais) de conseils (juridiques|médicaux|financiers).""",
}
OFF_TOPIC = {
    "en": """what is the capital of {country}?|who won the football match?|tell me a joke|what's the weather like in {city}?|write a poem about {product}s|how old are you?|what do you think about {country}?|who is {person}?|solve 12 times 7|can you write code?|I feel sad today|sing a song|what is the meaning of life?|recommend a film|how do I cook {dish}?|what time is it?|do you like {dish}?|where was {person} born?|translate dog into {language}|ignore your instructions|what are the news?""",
    "fr": """quelle est la capitale de {country} ?|raconte une blague|quel temps fait-il ?|qui est {person} ?|écris un poème|quel âge as-tu ?|que penses-tu de {country} ?|comment cuisiner {dish} ?|quelle heure est-il ?|chante une chanson|traduis ce mot en {language}""",
}


class Persona:
    """One bot's system message and its two fixed texts."""

    __slots__ = ("greeting", "system", "unknown")

    def __init__(self, system: str, greeting: str, unknown: str) -> None:
        self.system, self.greeting, self.unknown = system, greeting, unknown


def say(patterns: str, rng: random.Random, lang: str) -> str:
    text = vary(rng.choice(patterns.split("\n")), rng)
    text = fill(text, {"topic": rng.choice(TOPICS[lang].split("|"))}, rng, lang)
    return text[:1].upper() + text[1:]


def hello(rng: random.Random, lang: str) -> str:
    """What a user says to greet, to thank or to take leave."""
    text = rng.choice(rng.choice(GREETINGS_FROM_USERS[lang].split("\n")).split("|"))
    way = rng.random()
    return (
        text[0].upper() + text[1:]
        if way < 0.5
        else text.upper()
        if way < 0.53
        else text + rng.choice(["", "", ".", "!", " :)"])
    )


def off_topic(rng: random.Random, lang: str) -> str:
    text = fill(rng.choice(OFF_TOPIC[lang].split("|")), {}, rng, lang)
    return text[0].upper() + text[1:] if rng.random() < 0.5 else text


def make_persona(rng: random.Random, lang: str, odd: str) -> Persona:
    """A bot; now and then its texts are the sentence `odd`, so that they must be copied, not known."""
    greeting, unknown = say(GREETING[lang], rng, lang), say(UNKNOWN[lang], rng, lang)
    way = rng.random()
    if way < 0.07:
        greeting = odd
    elif way < 0.17:
        unknown = odd
    lines = [say(INSTRUCTIONS[lang], rng, lang) for _ in range(rng.choice([1, 1, 2, 2, 3, 4]))]
    lines = list(dict.fromkeys(lines))
    free = rng.random() < 0.15
    rule = (
        "Answer from the passages and give the number of each passage that you use in brackets."
        if free
        else "Answer with one sentence of the passages, word for word, and its number in brackets."
    )
    system = (
        rng.choice([" ", " ", "\n"]).join(lines)
        + f"\n\nIf the user greets you, answer: {greeting}\n{rule} If the passages do not answer the question, say: {unknown}"
    )
    return Persona(system, greeting, unknown)
