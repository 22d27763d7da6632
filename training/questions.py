"""Questions about real sentences: their content words, bent, thinned out and put in question forms."""

from __future__ import annotations

import math
import random
import re
from collections import Counter, defaultdict

from training.corpus import Document
from training.words import STOP, WORD, inflect, stem, typo

__all__ = ["Library", "Question", "content_stems"]

FORMS = {
    "en": """{q}|{q}|{q}?|{q}?|what about {q}?|tell me about {q}|do you have information on {q}?|I have a question about {q}|how do I {q}?|how can I {q}?
how to {q}|can I {q}?|can you {q}?|is it possible to {q}?|is there {q}?|are there {q}?|do you {q}?|does {q}?|what is {q}?|what are {q}?|what's {q}|what does {q} mean?
what happens with {q}?|which {q}?|who {q}?|where {q}?|where can I find {q}?|when {q}?|why {q}?|how {q}?|how much {q}?|how many {q}?|how long {q}?|how often {q}?
I want to {q}|I need {q}|please explain {q}|could you tell me {q}?|{q} how?|{q} - possible?|what should I know about {q}?|is {q}?|are {q}?|what do you know about {q}?
hi, {q}?|hello, what about {q}?|what kind of {q}?|in what way {q}?|what {q}?|in which {q}?|and {q}?|so {q}?|I'm looking for {q}|any {q}?|must I {q}?|should I {q}?|does it {q}?|did {q}?|was {q}?|were {q}?
what is the name of {q}?|what causes {q}?|what is used for {q}?|whose {q}?|for what {q}?|by whom {q}?|define {q}|which one {q}?""",
    "fr": """{q}|{q}|{q} ?|{q} ?|qu'est-ce que {q} ?|comment {q} ?|où {q} ?|quand {q} ?|pourquoi {q} ?|qui {q} ?|combien {q} ?|combien de {q} ?|quel est {q} ?|quelle est {q} ?
quels sont {q} ?|quelles sont {q} ?|est-ce que {q} ?|y a-t-il {q} ?|peut-on {q} ?|puis-je {q} ?|je cherche {q}|je voudrais {q}|à quoi sert {q} ?|que fait {q} ?|avez-vous {q} ?
comment faire pour {q} ?|que signifie {q} ?|dans quel cas {q} ?|depuis quand {q} ?|informations sur {q}|parlez-moi de {q}|je veux {q}|faut-il {q} ?|dois-je {q} ?|que se passe-t-il avec {q} ?|de quoi {q} ?|bonjour, {q} ?""",
}
ASKS = {  # what was taken out of the sentence decides the question word
    "en": {
        "year": "when|in what year|in which year|what year",
        "money": "how much|what does it cost|at what price",
        "number": "how many|what number of|how much",
        "name": "who|which|what|what is the name of the",
        "reason": "why|for what reason",
        "means": "how|by what means|with what",
        "place": "where|in which place|in what",
    },
    "fr": {
        "year": "quand|en quelle année|depuis quand",
        "money": "combien|à quel prix",
        "number": "combien de|combien|quel nombre de",
        "name": "qui|quel|quelle",
        "reason": "pourquoi|pour quelle raison",
        "means": "comment|avec quoi",
        "place": "où|dans quel lieu|dans quel",
    },
}
GAPS = {
    "year": re.compile(r"\b(?:(?:in|since|en|depuis|on|from)\s+)?(?:1[5-9]|20)\d\d\b"),
    "money": re.compile(r"[$£€]\s?\d[\d.,]*|\b\d[\d.,]*\s?(?:€|EUR|euros?|dollars?|%)"),
    "number": re.compile(
        r"\b(?:\d[\d.,]*|two|three|four|five|six|seven|eight|ten|twelve|hundred|deux|trois|quatre|cinq|six|dix)\b"
    ),
    "reason": re.compile(r",?\s(?:because|since|so that|in order to|due to|parce que|afin de|car|puisque)\s.*"),
    "means": re.compile(r"\s(?:by \w+ing|using|with the|by means of|en utilisant|à l'aide|au moyen)\s.*"),
    "place": re.compile(r"\s(?:in the|at the|on the|in [A-Z]\w+|dans le|dans la|sur le|sur la|à [A-Z]\w+)\s[\w ]*"),
    "name": re.compile(r"(?<=\s)[A-Z][\w-]+(?:\s[A-Z][\w-]+)*"),
}
FORMS = {lang: re.split(r"[|\n]", text) for lang, text in FORMS.items()}


def content_stems(text: str) -> list[str]:
    return [stem(w) for w in WORD.findall(text) if w.lower() not in STOP and (len(w) > 1 or w.isdigit())]


class Question:
    """A question and the stems in it by which its sentence can be found."""

    __slots__ = ("stems", "text")

    def __init__(self, text: str, stems: list[str]) -> None:
        self.text, self.stems = text, stems


class Library:
    """The real documents, with an index from stems to documents that share them."""

    def __init__(self, documents: list[Document], synonyms: dict[str, list[str]]) -> None:
        self.documents = documents
        self.synonyms = {w: [s for s in found if "_" not in s and s.isalpha()] for w, found in synonyms.items()}
        self.by_lang = {lang: [i for i, d in enumerate(documents) if d["lang"] == lang] for lang in ("en", "fr")}
        self.index: dict[str, list[int]] = defaultdict(list)
        count: Counter[str] = Counter()
        for i, document in enumerate(documents):
            for s in set(content_stems(" ".join(document["sentences"]))):
                count[s] += 1
                if len(self.index[s]) < 80:
                    self.index[s].append(i)
        total = len(documents)
        self.weights = {s: math.log(1 + total / n) for s, n in count.items()}
        self.rare = math.log(1 + total)

    def weight(self, s: str) -> float:
        return self.weights.get(s, self.rare)

    def near(self, stems: list[str], lang: str, rng: random.Random) -> Document | None:
        """A document of the language that shares one of the stems, if there is one."""
        for s in rng.sample(stems, min(3, len(stems))):
            found = self.index.get(s)
            if found:
                document = self.documents[rng.choice(found)]
                if document["lang"] == lang:
                    return document
        return None

    def any(self, lang: str, rng: random.Random) -> Document:
        return self.documents[rng.choice(self.by_lang[lang])]

    # -- asking -------------------------------------------------------------------------------

    def ask(self, sentence: str, lang: str, rng: random.Random) -> Question | None:
        """A question that this sentence answers, or None when it has too few words."""
        way = rng.random()
        if way < 0.4:
            words = self._keywords(sentence, rng)
        elif way < 0.65:
            words = self._span(sentence, rng)
        else:
            return self._gap(sentence, lang, rng)
        if not words:
            return None
        bent = [self._bend(w, lang, rng, i) for i, w in enumerate(words)]
        text = rng.choice(FORMS[lang]).replace("{q}", " ".join(bent))
        return self._finish(text, words, lang, rng)

    def _keywords(self, sentence: str, rng: random.Random) -> list[str]:
        words = [w for w in WORD.findall(sentence) if w.lower() not in STOP and len(w) > 2]
        if not words:
            return []
        wanted = min(len(words), rng.choice([1, 2, 2, 3, 3, 4, 5]))
        heavy = sorted(words, key=lambda w: self.weight(stem(w)) * rng.uniform(0.5, 1.0), reverse=True)[:wanted]
        kept = [w for w in dict.fromkeys(words) if w in heavy]
        if rng.random() < 0.3:
            rng.shuffle(kept)
        if rng.random() < 0.5:  # small words between, as in a real question
            glue = (
                ["the", "of the", "for", "in", "a", "with", "to", "my", "and"]
                if sentence.isascii()
                else ["le", "la", "de", "pour", "dans", "un", "avec", "mon"]
            )
            spread: list[str] = []
            for w in kept:
                spread += [rng.choice(glue), w] if rng.random() < 0.5 else [w]
            return spread
        return kept

    def _span(self, sentence: str, rng: random.Random) -> list[str]:
        words = WORD.findall(sentence)
        for _ in range(4):
            length = rng.randint(2, 8)
            start = rng.randrange(max(1, len(words) - length))
            part = words[start : start + length]
            while part and part[0].lower() in STOP:
                part = part[1:]
            while part and part[-1].lower() in STOP:
                part = part[:-1]
            if sum(w.lower() not in STOP for w in part) >= 1 and part:
                return part
        return []

    def _gap(self, sentence: str, lang: str, rng: random.Random) -> Question | None:
        """Take a number, name, place or reason out and ask for it with the rest of the words."""
        kinds = [(k, m) for k, gap in GAPS.items() for m in [gap.search(sentence, 1)] if m]
        if not kinds:
            return None
        kind, found = rng.choice(kinds)
        rest = WORD.findall(sentence[: found.start()]) + WORD.findall(sentence[found.end() :])[: rng.randint(0, 6)]
        keep = [w for w in rest if rng.random() < (0.85 if w.lower() not in STOP else 0.7)][-rng.randint(4, 11) :]
        if sum(w.lower() not in STOP for w in keep) < 2:
            return None
        bent = [self._bend(w, lang, rng, i) for i, w in enumerate(keep)]
        ask = rng.choice(ASKS[lang][kind].split("|"))
        text = " ".join([ask, *bent]) if rng.random() < 0.85 else " ".join([*bent, ask])
        return self._finish(text + ("?" if lang == "en" else " ?"), keep, lang, rng)

    def _bend(self, word: str, lang: str, rng: random.Random, place: int) -> str:
        low = word.lower()
        if low in STOP:
            return low
        way = rng.random()
        if way < 0.16:
            return inflect(low, rng, lang)
        if way < 0.30 and lang == "en":
            found = self.synonyms.get(low) or self.synonyms.get(low.rstrip("s"))
            return rng.choice(found) if found else word
        if way < 0.33:
            return typo(low, rng)
        return low if place == 0 or way < 0.5 else word

    def _finish(self, text: str, words: list[str], lang: str, rng: random.Random) -> Question | None:
        stems = list(dict.fromkeys(s for w in words for s in content_stems(w)))
        if not stems:
            return None
        way = rng.random()
        if way < 0.25:
            text = text.lower()
        elif way < 0.75:
            text = text[0].upper() + text[1:]
        if rng.random() < 0.25:
            text = text.rstrip("? ")
        return Question(text, stems)

    # -- checking -----------------------------------------------------------------------------

    def share(self, stems: list[str], sentence: str, title: str = "") -> float:
        """How much of the question's weight the sentence holds, 0 to 1; its title counts a little."""
        own, above = set(content_stems(sentence)), set(content_stems(title))
        total = sum(map(self.weight, stems)) or 1.0
        return sum(self.weight(s) * (1.0 if s in own else 0.2 if s in above else 0.0) for s in stems) / total
