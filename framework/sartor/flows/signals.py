"""What short answers say: yes, no, stop, not that but this. English and French, and a little of other languages.

No model is asked for it: whether a booking is made must not depend on one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sartor.flows.dates import folded
from sartor.words import stems_of

__all__ = ["Signals", "signals_of", "wants", "wishes"]

_YES = """
yes|yeah|yep|yup|sure|ok|okay|right|correct|exactly|perfect|great|fine|of course|go ahead|please do|do it|that is right|
that's right|that is correct|that's correct|confirm|confirmed|i confirm|no problem|sounds good|agreed|absolutely|
try again|please try again|oui|ouais|d'accord|parfait|exact|exactement|tout a fait|c'est bien ca|c'est ca|
c'est correct|c'est bon|bien sur|allez-y|vas-y|volontiers|je confirme|confirmez|entendu|pas de probleme|reessayer|
reessayez|ja|genau|gerne|si|claro|vale|certo|sim
"""
_NO = """
no|nope|nah|not|wrong|incorrect|not right|not correct|not yet|non|pas|faux|pas encore|pas tout a fait|incorrecte|
ce n'est pas ca|nein|falsch|nao
"""
_LEAVE = """
stop|quit|exit|cancel|cancel it|cancel this|cancel that|cancel everything|abort|forget it|forget that|forget about it|
never mind|nevermind|leave it|drop it|let's stop|i want to stop|i don't want to go on|i do not want to go on|
i changed my mind|i have changed my mind|not any more|not anymore|no longer|arrete|arretez|arreter|stoppez|annule|
annulez|annuler|laisse tomber|laissez tomber|laisse|oublie|oubliez|oublie ca|oubliez ca|abandonne|abandonner|
tant pis|quitter|j'ai change d'avis|je ne veux plus|abbrechen|olvidalo|cancelar
"""
_CHANGE = """
change|change it|change this|change that|change something|change something else|let me change|let me change something|
i would like to change|i would like to change something|modify|modify it|edit|correct it|changer|changez|modifier|
modifiez|corriger|corrigez|changer quelque chose|modifier quelque chose|je voudrais changer|je voudrais modifier|
je voudrais changer quelque chose|je voudrais modifier quelque chose|andern|cambiar|modificar|modifica
"""
_SKIP = """
skip|skip it|skip this|skip this question|skip the question|none|nothing|no|nope|no thanks|no thank you|not needed|
passe|passer|passez|passer cette question|passer la question|rien|aucun|aucune|non|non merci|pas besoin|sans
"""
_CORRECTS = """
no|not|actually|instead|rather|sorry|i meant|i mean|wait|make it|make that|change|i said|better|wrong|non|plutot|
en fait|pardon|desole|je voulais dire|attendez|changez|changer|mettez|finalement|pas
"""
_POLITE = """
please|thanks|thank|you|it|this|that|then|now|everything|just|oh|well|so|merci|s'il vous plait|svp|alors|bon|tout|ca|
cela|donc|finalement|the|my|i|to|want|je|veux|le|la
"""
_QUESTION = re.compile(
    r"^\W*(?:what|when|where|which|who|whose|why|how|is|are|was|does|do you|did|will|would you|can you|could you|"
    r"comment|quand|ou est|ou sont|quels?|quelles?|pourquoi|combien|est-ce(?! que je peux)|qu'est|qui|que se|y a-t-il|"
    r"avez-vous|pouvez-vous|faites-vous|faut-il|peut-on)\b"
)
_WISH = re.compile(
    r"\b(?:i(?:'d| would) like|i want|i wish|i need|i have to|i must|can i|could i|may i|please|let me|help me|"
    r"je veux|je voudrais|j'aimerais|je souhaite|j'ai besoin|je dois|puis-je|pourrais-je|est-ce que je peux|svp|"
    r"s'il vous plait|aidez-moi)\b"
)


def _phrases(words: str) -> re.Pattern[str]:
    found = sorted((phrase.strip() for phrase in words.replace("\n", "").split("|")), key=len, reverse=True)
    return re.compile(rf"(?<![\w'])(?:{'|'.join(map(re.escape, found))})(?![\w'])")


_SAYS = {
    name: _phrases(words)
    for name, words in {"yes": _YES, "no": _NO, "leave": _LEAVE, "change": _CHANGE, "skip": _SKIP}.items()
}
_CORRECTING, _ASIDE = _phrases(_CORRECTS), _phrases(_POLITE)


@dataclass(frozen=True, slots=True)
class Signals:
    """What a message says beside what it names."""

    yes: bool
    """It begins with a yes."""
    no: bool
    """It begins with a no."""
    leave: bool
    """It says nothing but that the user wants to stop."""
    change: bool
    """It says nothing but that something is to be changed."""
    skip: bool
    """It says nothing but that there is no answer."""
    corrects: bool
    """It takes something back."""
    question: bool
    """It asks."""


def signals_of(text: str) -> Signals:
    """What `text` says."""
    plain = folded(text).replace("’", "'").strip()
    yes = _SAYS["yes"].match(plain.lstrip(" ,.!"))
    no = _SAYS["no"].match(plain.lstrip(" ,.!"))
    if yes and no:  # "no problem" begins with "no"
        yes, no = (yes, None) if yes.end() > no.end() else (None, no)
    return Signals(
        yes=yes is not None,
        no=no is not None,
        leave=_nothing_but("leave", plain),
        change=_nothing_but("change", plain),
        skip=_nothing_but("skip", plain),
        corrects=_CORRECTING.search(plain) is not None,
        question=plain.endswith("?") or _QUESTION.match(plain) is not None,
    )


def wants(text: str, phrase: str) -> int:
    """How many informative words `phrase` has, where `text` has all of them and not many more; else 0."""
    wanted, said = stems_of(phrase), stems_of(text)
    return len(wanted) if wanted <= said and len(said) <= 3 * len(wanted) + 6 else 0


def wishes(text: str) -> bool:
    """Whether `text` tells of a wish ("I would like to …", "can I …"), though it may be put as a question; one after
    how, when or what is no wish."""
    plain = folded(text).replace("’", "'")
    return _WISH.search(plain) is not None and _QUESTION.match(plain) is None


def _nothing_but(kind: str, plain: str) -> bool:
    rest, count = _SAYS[kind].subn(" ", plain)
    if not count:
        return False
    rest = _SAYS["no"].sub(" ", _ASIDE.sub(" ", rest))
    return not re.search(r"\w", rest)
